package load

import "math/rand/v2"

// This file says which arrivals of an open loop are a worker's. Arrivals have numbers
// from 0 on, and stage.due says when a number is due. Evenly spaced ones have whole
// numbers. Those of a Poisson process have exponential gaps with a mean of 1. All
// workers draw the same gaps, and each takes every arrival whose turn is its own. So the
// arrivals of all workers together are the same process, however many loops there are.

// gaps is the distance between arrivals. Nil means that they are evenly spaced.
type gaps struct{ random *rand.Rand }

// newGaps returns the gaps of a stage. They are the same in every run, and differ
// between the steps of a sweep.
func newGaps(stage int) *gaps { return &gaps{rand.New(rand.NewPCG(2, uint64(stage)))} }

// after returns the n-th arrival after one.
func (g *gaps) after(from float64, n int) float64 {
	if g == nil {
		return from + float64(n)
	}
	for range n {
		from += g.random.ExpFloat64()
	}
	return from
}

// firstArrival sets the worker's first arrival of a stage.
func (w *worker) firstArrival() {
	w.gaps, w.next = nil, float64(w.index)
	if w.run.cfg.Poisson {
		w.gaps = newGaps(w.stage.number)
		w.next = w.gaps.after(0, w.index+1)
	}
}
