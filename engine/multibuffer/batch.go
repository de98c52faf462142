package multibuffer

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
)

// batch is what is being computed, perhaps by a worker. From startWorker until
// batcher.done is set, the worker owns the fields below the line and the op field
// of each request.
type batch struct {
	reqs    []*request // empty: nothing is being computed
	size    int        // index into keySizes
	started time.Duration
	unit    *rsax8.Unit // unit and ops are not changed while a worker uses them
	ops     []*rsax8.Request
	// ---
	took    time.Duration
	failure error // the kernel has panicked
}

// fill makes a batch of the oldest requests in q. Five requests take as long as
// eight. So if there are five to seven, it takes only the four that fill the lanes
// once, provided that the rest are enough for another batch.
func (b *batcher) fill(q *queue) {
	t := &b.batch
	t.size = q.head.size
	t.started = b.engine.now()
	n := min(q.n, rsax8.Lanes)
	if n < rsax8.Lanes && n-rsax8.PerPass >= b.engine.cfg.MinBatch {
		n = rsax8.PerPass
	}
	for range n {
		r := q.head
		b.remove(r)
		r.state = stateComputing
		t.reqs = append(t.reqs, r)
		t.ops = append(t.ops, &r.op)
	}
	if b.units[t.size] == nil {
		b.units[t.size] = rsax8.NewUnit(keySizes[t.size])
	}
	t.unit = b.units[t.size]
}

// compute computes the batch. It may be called by a worker.
func (b *batcher) compute() {
	t := &b.batch
	began := b.engine.now()
	defer func() {
		t.took = b.engine.now() - began
		if v := recover(); v != nil {
			t.failure = fmt.Errorf("multibuffer: computing a batch: panic: %v\n%s", v, debug.Stack())
		}
	}()
	b.engine.do(t.unit, t.ops)
}

// settle processes the results of the computed batch.
func (b *batcher) settle() {
	t := &b.batch
	now := b.engine.now()
	report := Batch{
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
		if r.abandoned {
			b.free.put(r)
		} else {
			b.settled = append(b.settled, r)
		}
	}
	if t.failure != nil {
		b.failure = t.failure
		b.units[t.size] = nil // its state is unknown
	}
	if b.engine.cfg.OnBatch != nil {
		b.reports = append(b.reports, report)
	}
	c := &b.engine.stats
	c.batches.Add(1)
	c.batchSizes[report.Requests].Add(1)
	c.operations.Add(uint64(report.Requests - report.Fallbacks))
	c.fallbacks.Add(uint64(report.Fallbacks))
	c.waited.Add(int64(waited))

	clear(t.reqs)
	clear(t.ops)
	t.reqs, t.ops, t.failure = t.reqs[:0], t.ops[:0], nil
}
