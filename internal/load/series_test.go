package load

import (
	"math/rand/v2"
	"testing"
	"time"
)

// This file tests the series of a run and the summaries of histograms.

// TestSeriesOfHours simulates a long run. Its intervals come a little late.
func TestSeriesOfHours(t *testing.T) {
	begin := time.Now()
	s := newSeries(begin)
	in := interval{latency: newHistogram(2)}
	var handshakes, errors int64
	random := rand.New(rand.NewPCG(1, 2))
	for at := time.Duration(0); at < 30*time.Hour; at += time.Duration(random.Int64N(int64(time.Minute))) {
		in.handshakes, in.errors, in.inFlight = random.Int64N(100), random.Int64N(3), random.IntN(1000)
		in.latency.Reset()
		for range in.handshakes {
			record(in.latency, time.Duration(random.Int64N(int64(time.Minute))))
		}
		handshakes, errors = handshakes+in.handshakes, errors+in.errors
		s.add(begin.Add(at), &in)
		if len(s.points) > maxPoints {
			t.Fatalf("%d points after %v", len(s.points), at)
		}
	}
	points := s.result(begin.Add(time.Hour))
	if len(points) > maxPoints || len(points) < maxPoints/2 || cap(s.points) > 2*maxPoints {
		t.Errorf("%d points, with room for %d", len(points), cap(s.points))
	}
	want(t, "the first one's time", points[0].At, -3600)
	latencies := int64(0)
	for i, p := range points {
		handshakes, errors = handshakes-p.Handshakes, errors-p.Errors
		latencies += s.points[i].latency.TotalCount() - p.Handshakes
		if i > 0 {
			if d := p.At - points[i-1].At - p.Length; d > 1e-6 || d < -1e-6 {
				t.Fatalf("from %v s to %v s is not %v s", points[i-1].At, p.At, p.Length)
			}
		}
		if !(p.P50 <= p.P99 && p.P99 <= p.Max && p.Max > 0) {
			t.Fatalf("p50 %d, p99 %d, max %d", p.P50, p.P99, p.Max)
		}
	}
	want(t, "handshakes that are lost", handshakes, 0)
	want(t, "errors that are lost", errors, 0)
	want(t, "latencies more than handshakes", latencies, 0)
}

func TestHalve(t *testing.T) {
	for n := range 8 {
		begin := time.Now()
		s := newSeries(begin)
		for i := range n {
			in := interval{handshakes: 1 << i, errors: 1, inFlight: 100 - i, latency: newHistogram(2)}
			record(in.latency, time.Duration(i+1)*time.Millisecond)
			s.add(begin.Add(time.Duration(i)*firstStep), &in)
		}
		s.halve()
		want(t, "step", s.step, 2*firstStep)
		want(t, "points", len(s.points), (n+1)/2)
		for i, p := range s.points {
			sum, count, last := int64(1<<(2*i)), int64(1), 2*i
			if last+1 < n {
				last++
				sum, count = sum+1<<last, 2
			}
			want(t, "handshakes", p.handshakes, sum)
			want(t, "errors", p.errors, count)
			want(t, "latencies", p.latency.TotalCount(), count)
			want(t, "most in flight", p.inFlight, 100-2*i)
		}
	}
}

// An empty interval looks like a server that has stalled. So loops publish once in each
// interval, even if their timers are a little late.
func TestSeriesHasNoHoles(t *testing.T) {
	begin := time.Now()
	s := newSeries(begin)
	in := interval{handshakes: 1, latency: newHistogram(2)}
	since := begin.Add(3 * time.Millisecond)
	for range 10 * maxPoints {
		now := since.Add(s.untilNext(since) + 1500*time.Microsecond)
		s.add(since, &in)
		since = now
	}
	points := s.result(begin)
	for i, p := range points[:len(points)-1] {
		want(t, "handshakes at "+time.Duration(p.At*float64(time.Second)).String(), p.Handshakes, points[0].Handshakes)
		if t.Failed() {
			t.Fatalf("at point %d of %d", i, len(points))
		}
	}
}

func TestLately(t *testing.T) {
	begin := time.Now()
	s := newSeries(begin)
	rate, p99 := s.lately(begin)
	want(t, "rate at the beginning", rate, 0)
	want(t, "p99 at the beginning", p99, 0)
	for i := range 50 {
		in := interval{handshakes: int64(i), latency: newHistogram(2)}
		record(in.latency, time.Duration(i+1)*time.Millisecond)
		s.add(begin.Add(time.Duration(i)*firstStep), &in)
	}
	rate, p99 = s.lately(begin.Add(50 * firstStep))
	want(t, "rate of the last second", rate, 445) // 40 + ... + 49
	wantAtLeast(t, "p99 of the last second", p99.Microseconds(), 50*time.Millisecond)
}

func TestPercentiles(t *testing.T) {
	h := newHistogram(3)
	want(t, "of nothing", percentiles(h), Percentiles{})
	for i := 1; i <= 10_000; i++ {
		record(h, time.Duration(i)*100*time.Microsecond)
	}
	got := percentiles(h)
	want(t, "count", got.Count, 10_000)
	for _, test := range []struct {
		name      string
		us, exact int64
	}{
		{"min", got.Min, 100}, {"p50", got.P50, 500_000}, {"p90", got.P90, 900_000}, {"p99", got.P99, 990_000},
		{"p99.9", got.P999, 999_000}, {"max", got.Max, 1_000_000}, {"mean", got.Mean, 500_050},
	} {
		if d := float64(test.us)/float64(test.exact) - 1; d > 1e-3 || d < -1e-3 {
			t.Errorf("%s is %d µs, want %d within 0.1 %%", test.name, test.us, test.exact)
		}
	}
}

func TestRecordOutOfRange(t *testing.T) {
	h := newHistogram(3)
	record(h, -time.Second)
	record(h, 0)
	record(h, 100*time.Hour)
	got := percentiles(h)
	want(t, "count", got.Count, 3)
	want(t, "min", got.Min, 1)
	wantAtLeast(t, "max", got.Max, maxLatency)
}
