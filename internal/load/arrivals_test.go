package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

// This file tests the arrivals of a Poisson process. The seeds are fixed, so nothing here
// depends on chance.

// positions returns the first n arrivals of each of several workers.
func positions(poisson bool, number, workers, n int) [][]float64 {
	all := make([][]float64, workers)
	for i := range all {
		w := &worker{run: &run{cfg: &Config{Poisson: poisson, Seed: 1}}, index: i, stage: &stage{number: number, workers: workers}}
		w.firstArrival()
		for range n {
			all[i] = append(all[i], w.next)
			w.take()
		}
	}
	return all
}

func TestPoissonArrivals(t *testing.T) {
	const n = 20_000
	alone := positions(true, 0, 1, n)[0]
	sum, squares := 0.0, 0.0
	var quarters [4]int // of the distribution of gaps
	last := 0.0
	for _, x := range alone {
		gap := x - last
		last = x
		sum += gap
		squares += gap * gap
		quarters[min(int(4*(1-math.Exp(-gap))), 3)]++
	}
	mean := sum / n
	if variance := squares/n - mean*mean; math.Abs(mean-1) > 0.02 || math.Abs(variance-1) > 0.05 {
		t.Errorf("gaps with mean %v and variance %v, want 1 and 1", mean, variance)
	}
	for i, got := range quarters {
		if got < n/4-n/50 || got > n/4+n/50 {
			t.Errorf("%d of %d gaps are in quarter %d of the exponential distribution", got, n, i+1)
		}
	}
	// The number of arrivals in equal times has a variance of its mean.
	counts := make([]float64, int(last)/10)
	for _, x := range alone {
		if i := int(x / 10); i < len(counts) {
			counts[i]++
		}
	}
	squares = 0
	for _, c := range counts {
		squares += (c - 10) * (c - 10)
	}
	if variance := squares / float64(len(counts)); math.Abs(variance-10) > 1 {
		t.Errorf("10 arrivals are expected in a time: variance %v, want 10", variance)
	}
	if !slices.Equal(alone, positions(true, 0, 1, n)[0]) {
		t.Error("another run has other arrivals")
	}
	if slices.Equal(alone, positions(true, 1, 1, n)[0]) {
		t.Error("two steps of a sweep have the same arrivals")
	}
}

// However many loops there are, together they have the same arrivals.
func TestArrivalsOfSeveralLoops(t *testing.T) {
	for _, poisson := range []bool{false, true} {
		alone := positions(poisson, 3, 1, 3000)[0]
		for _, workers := range []int{2, 3} {
			all := slices.Concat(positions(poisson, 3, workers, 3000/workers)...)
			slices.Sort(all)
			if !slices.Equal(all, alone) {
				t.Errorf("poisson %t: %d loops have other arrivals than one", poisson, workers)
			}
		}
	}
}

// In a ramp, the number of arrivals grows with the square of time.
func TestPoissonRamp(t *testing.T) {
	s := &stage{rate: 1000, ramp: 10 * time.Second, begin: time.Now(), workers: 1}
	var seconds [12]int
	for _, x := range positions(true, 0, 1, 8000)[0] {
		if i := int(s.due(x).Sub(s.begin) / time.Second); i < len(seconds) {
			seconds[i]++
		}
	}
	for i, got := range seconds {
		expected := min(100*float64(i)+50, 1000)
		if math.Abs(float64(got)-expected) > 4*math.Sqrt(expected) {
			t.Errorf("%d arrivals in second %d, want about %v", got, i, expected)
		}
	}
}

// Runs with a count, a ramp, a warm-up and several loops are as exact as with even arrivals.
func TestPoissonRun(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := openConfig(500, 0, s)
	cfg.Poisson, cfg.Count, cfg.Loops = true, 51, 2
	cfg.Ramp, cfg.Warmup = 50*time.Millisecond, 50*time.Millisecond
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	if res.StartDelay == nil || res.StartDelay.Count != cfg.Count {
		t.Errorf("start delay %+v", res.StartDelay)
	}
	wantSame(t, res, s)
}

// A sweep compares what was done with what was due, and not with the average rate.
func TestPoissonSweepKeepsUp(t *testing.T) {
	r := &run{cfg: &Config{Poisson: true, Sweep: &SweepConfig{P99: time.Second}}, workers: make([]*worker, 1)}
	begin := time.Now()
	m := &measured{rec: newRecorder(1), stage: &stage{rate: 100, start: begin, end: begin.Add(time.Second)}}
	m.rec.handshakes, m.rec.inTime = 80, 80
	if step := r.step(100, m); !step.KeptUp {
		t.Errorf("80 were due and done: %s", step.Why)
	}
	m.rec.inTime = 70
	if step := r.step(100, m); step.KeptUp {
		t.Error("80 were due and 70 done in time")
	}
}

// Runs with the seeds 1, 2, 3 and so on take turns. Those with the same seed coincide.
func TestSeeds(t *testing.T) {
	first := func(seed uint64, poisson bool) float64 {
		w := &worker{run: &run{cfg: &Config{Poisson: poisson, Seed: seed}}, stage: &stage{workers: 1}}
		w.firstArrival()
		return w.next
	}
	want(t, "the first of seed 1", first(1, false), 0)
	for _, machines := range []int{2, 5, 10, 100} {
		var all []float64
		for i := range machines {
			all = append(all, first(uint64(i+1), false))
		}
		slices.Sort(all)
		all = append(all, 1) // the next of seed 1
		for i := range machines {
			if gap := all[i+1] - all[i]; gap < 0.5/float64(machines) {
				t.Errorf("of %d machines, two are %v of the interval apart", machines, gap)
			}
		}
	}
	if first(1, true) == first(2, true) || first(3, true) != first(3, true) {
		t.Error("the seed does not decide the times of a Poisson process")
	}
}
