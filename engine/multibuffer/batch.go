package multibuffer

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// batch is what is being computed, perhaps by a worker. It keeps the memory for
// the next one. While a worker computes, it owns the fields below the line and the
// op field of each request.
type batch struct {
	engine  *Engine
	reqs    []*request // empty: nothing is being computed
	size    int        // index into keySizes
	started time.Duration
	ops     []*rsax8.Request
	units   [len(keySizes)]*rsax8.Unit
	// ---
	took    time.Duration
	failure error // the kernel has panicked
}

// fill makes a batch of the oldest requests in q. Five requests take as long as
// eight. So if there are five to seven, it takes only the four that fill the lanes
// once, provided that the rest are enough for another batch.
func (t *batch) fill(q *queue) {
	t.size = q.head.size
	t.started = t.engine.now()
	n := min(q.n, rsax8.Lanes)
	if n < rsax8.Lanes && n-rsax8.PerPass >= t.engine.cfg.MinBatch {
		n = rsax8.PerPass
	}
	for range n {
		r := q.head
		q.remove(r)
		r.state = stateComputing
		t.reqs = append(t.reqs, r)
		t.ops = append(t.ops, &r.op)
	}
	if t.units[t.size] == nil {
		t.units[t.size] = rsax8.NewUnit(keySizes[t.size])
	}
}

// compute computes the batch. It may be called by a worker.
func (t *batch) compute() {
	began := t.engine.now()
	defer func() {
		t.took = t.engine.now() - began
		if v := recover(); v != nil {
			t.failure = fmt.Errorf("multibuffer: computing a batch: panic: %v\n%s", v, debug.Stack())
		}
	}()
	t.engine.do(t.units[t.size], t.ops)
}

// settle sets the states of the computed requests, counts them and returns what
// OnBatch is told. Then the batch is empty. done is called for each request.
func (t *batch) settle(done func(*request)) (report Batch, failure error) {
	now := t.engine.now()
	report = Batch{
		Requests: len(t.reqs),
		Bits:     keySizes[t.size],
		Waited:   t.started - t.reqs[0].since,
		Took:     t.took,
	}
	var waited time.Duration
	for _, r := range t.reqs {
		waited += now - r.since
		r.state = stateVerified
		if !r.op.OK || t.failure != nil {
			r.state = stateFaulty
			report.Fallbacks++
		}
		done(r)
	}
	if t.failure != nil {
		t.units[t.size] = nil // its state is unknown
	}
	c := &t.engine.stats
	c.batches.Add(1)
	c.batchSizes[report.Requests].Add(1)
	c.operations.Add(uint64(report.Requests - report.Fallbacks))
	c.fallbacks.Add(uint64(report.Fallbacks))
	c.waited.Add(int64(waited))

	failure = t.failure
	clear(t.reqs)
	clear(t.ops)
	t.reqs, t.ops, t.failure = t.reqs[:0], t.ops[:0], nil
	return report, failure
}
