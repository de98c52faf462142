package load

import (
	"fmt"
	"testing"
	"time"
)

// This file tests when visits are due and which are measured.

func TestDue(t *testing.T) {
	begin := time.Now()
	for _, rate := range []float64{1e-300, 1e-9, 0.1, 1, 3, 250, 9999.5, maxRate} {
		for _, ramp := range []time.Duration{0, time.Millisecond, time.Second, time.Hour} {
			s := &stage{rate: rate, ramp: ramp, begin: begin, workers: 1}
			name := fmt.Sprintf("rate %v, ramp %v", rate, ramp)
			want(t, name+": the first", s.due(0), begin)
			last := begin
			for n := int64(1); n < 1<<40; n += 1 + n/3 {
				due := s.due(float64(n))
				if due.Before(last) {
					t.Fatalf("%s: %d is due %v before one that precedes it", name, n, last.Sub(due))
				}
				last = due
				// How many are due in this time. The average rate in the ramp is half the rate.
				at := due.Sub(begin).Seconds()
				if at > 1e9 {
					break // too long for a run and for a time in nanoseconds
				}
				expected := rate * (at - ramp.Seconds()/2)
				if at < ramp.Seconds() {
					expected = rate * at * at / ramp.Seconds() / 2
				}
				if diff := expected - float64(n); diff > 1e-3*float64(n)+1 || diff < -1e-3*float64(n)-1 {
					t.Fatalf("%s: %d is due at %v s, when there should be %v", name, n, at, expected)
				}
			}
		}
	}
}

func TestDueIsEvenInSteadyState(t *testing.T) {
	begin := time.Now()
	s := &stage{rate: 1000, ramp: time.Second, begin: begin, workers: 1}
	for n := 500.0; n < 100_000; n++ {
		if d := s.due(n + 1).Sub(s.due(n)); d < time.Millisecond-2 || d > time.Millisecond+2 {
			t.Fatalf("%v between %v and the next, want 1ms", d, n)
		}
	}
}

func TestShare(t *testing.T) {
	for workers := 1; workers <= 7; workers++ {
		s := &stage{workers: workers}
		for n := int64(0); n < 50; n++ {
			sum, least, most := int64(0), n, int64(0)
			for i := range workers {
				share := s.share(n, i)
				sum, least, most = sum+share, min(least, share), max(most, share)
			}
			want(t, "sum of shares", sum, n)
			if most-least > 1 {
				t.Errorf("shares of %d from %d to %d", n, least, most)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	start := time.Now()
	end := start.Add(10 * time.Second)
	before, within, after := start.Add(-time.Second), start.Add(time.Second), end.Add(time.Second)
	type verdict struct{ measured, inTime bool }
	for _, test := range []struct {
		name       string
		rate       float64
		count      int64
		due, ended time.Time
		chosen     bool // by a closed loop with a count
		want       verdict
	}{
		{name: "closed, before", due: before, ended: before},
		{name: "closed, into it", due: before, ended: within, want: verdict{false, true}},
		{name: "closed, within", due: within, ended: within, want: verdict{true, true}},
		{name: "closed, out of it", due: within, ended: after, want: verdict{true, false}},
		{name: "closed, at its start", due: start, ended: start, want: verdict{true, true}},
		{name: "closed, at its end", due: within, ended: end, want: verdict{true, false}},
		{name: "open, before", rate: 1, due: before, ended: within, want: verdict{false, true}},
		{name: "open, at its start", rate: 1, due: start, ended: within, want: verdict{true, true}},
		{name: "open, out of it", rate: 1, due: within, ended: after, want: verdict{true, false}},
		{name: "closed with a count, warm-up", count: 1, due: before, ended: within},
		{name: "closed with a count", count: 1, chosen: true, due: within, ended: after, want: verdict{true, true}},
		{name: "open with a count, warm-up", rate: 1, count: 1, due: before, ended: within},
		{name: "open with a count", rate: 1, count: 1, due: within, ended: after, want: verdict{true, true}},
	} {
		s := &stage{rate: test.rate, count: test.count, start: start, end: end}
		v := &visit{due: test.due, ended: test.ended, measured: test.chosen}
		want(t, test.name, verdict{s.counts(v), s.inTime(v)}, test.want)
	}
}
