package load

import (
	"math"
	"math/rand/v2"
)

// This file says which arrivals of an open loop are a worker's. Arrivals have numbers
// from 0 on, and stage.due says when a number is due. Evenly spaced ones have whole
// numbers. Those of a Poisson process have exponential gaps with a mean of 1. All
// workers draw the same gaps, and each takes every arrival whose turn is its own. So the
// arrivals of all workers together are the same process, however many loops there are.

// gaps is the distance between arrivals. Nil means that they are evenly spaced.
type gaps struct{ random *rand.Rand }

// newGaps returns the gaps of a stage. They are the same in every run with the seed, and
// differ between the steps of a sweep.
func newGaps(seed uint64, stage int) *gaps {
	const stream = 1 << 32 // not that of a worker
	return &gaps{rand.New(rand.NewPCG(seed, stream+uint64(stage)))}
}

// phase returns when the first of evenly spaced arrivals is due, as a share of the
// interval. Multiples of the golden ratio are far from each other, however many there
// are, so runs with the seeds 1, 2, 3 and so on take turns.
func phase(seed uint64) float64 {
	_, f := math.Modf(float64(seed-1) * (math.Phi - 1))
	return f
}

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
	w.gaps, w.next = nil, float64(w.index)+phase(w.run.cfg.Seed)
	if w.run.cfg.Poisson {
		w.gaps = newGaps(w.run.cfg.Seed, w.stage.number)
		w.next = w.gaps.after(0, w.index+1)
	}
}
