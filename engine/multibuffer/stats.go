package multibuffer

import (
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// Stats counts what an Engine has done on all its loops since New.
type Stats struct {
	Operations uint64        // signatures made in lanes, those of Canceled requests included
	Batches    uint64        // that were computed
	BatchSizes [9]uint64     // of them, by the number of requests
	Alone      uint64        // left to crypto/rsa because fewer than MinBatch were to be computed
	Direct     uint64        // signatures by crypto/rsa outside a job, or while pausing was blocked
	Fallbacks  uint64        // results that did not verify, left to crypto/rsa
	Canceled   uint64        // requests given up: their job was cancelled, or their context ended, before it had the signature
	Waited     time.Duration // from Sign to the result, the sum over all requests in batches
}

// counters are shared by the Engine's loops. They are added to once a batch, or
// once a signature of crypto/rsa.
type counters struct {
	operations atomic.Uint64
	batches    atomic.Uint64
	batchSizes [rsax8.Lanes + 1]atomic.Uint64
	alone      atomic.Uint64
	direct     atomic.Uint64
	fallbacks  atomic.Uint64
	canceled   atomic.Uint64
	waited     atomic.Int64
}

// Stats returns the counts of the moment. Each is exact; that they fit
// together is certain only while nothing is computed. It may be called from
// any goroutine.
func (e *Engine) Stats() Stats {
	c := &e.stats
	s := Stats{
		Operations: c.operations.Load(),
		Batches:    c.batches.Load(),
		Alone:      c.alone.Load(),
		Direct:     c.direct.Load(),
		Fallbacks:  c.fallbacks.Load(),
		Canceled:   c.canceled.Load(),
		Waited:     time.Duration(c.waited.Load()),
	}
	for i := range s.BatchSizes {
		s.BatchSizes[i] = c.batchSizes[i].Load()
	}
	return s
}
