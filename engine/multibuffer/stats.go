package multibuffer

import (
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// Stats counts what an Engine has done since New, on all loops and for goroutines.
type Stats struct {
	Operations uint64        // signatures made in lanes, including those of Canceled requests
	Batches    uint64        // batches computed
	BatchSizes [9]uint64     // batches by number of requests
	Alone      uint64        // requests left to crypto/rsa because fewer than MinBatch were due
	Direct     uint64        // signatures by crypto/rsa: of unusual input, or while pausing was blocked
	Unbound    uint64        // signatures in a job by a Key that is not bound to it, computed alone: see Key.Sign
	Fallbacks  uint64        // results that did not verify and were left to crypto/rsa
	Canceled   uint64        // requests given up because their job was cancelled or their context ended first
	Waited     time.Duration // from Sign to the result, summed over all requests in batches
}

// counters are shared by the Engine's loops. They are updated once for each batch,
// or for each signature by crypto/rsa.
type counters struct {
	operations atomic.Uint64
	batches    atomic.Uint64
	batchSizes [rsax8.Lanes + 1]atomic.Uint64
	alone      atomic.Uint64
	direct     atomic.Uint64
	unbound    atomic.Uint64
	fallbacks  atomic.Uint64
	canceled   atomic.Uint64
	waited     atomic.Int64
}

// Stats returns the current counts. Each is exact, but they are certain to match
// each other only while nothing is being computed. It may be called from any
// goroutine. The counts of a nil Engine are zero.
func (e *Engine) Stats() Stats {
	if e == nil {
		return Stats{}
	}
	c := &e.stats
	s := Stats{
		Operations: c.operations.Load(),
		Batches:    c.batches.Load(),
		Alone:      c.alone.Load(),
		Direct:     c.direct.Load(),
		Unbound:    c.unbound.Load(),
		Fallbacks:  c.fallbacks.Load(),
		Canceled:   c.canceled.Load(),
		Waited:     time.Duration(c.waited.Load()),
	}
	for i := range s.BatchSizes {
		s.BatchSizes[i] = c.batchSizes[i].Load()
	}
	return s
}
