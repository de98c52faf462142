package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// series records a run over time, in at most maxPoints intervals. When these are
// used up, each pair of intervals becomes one. Any goroutine may use it.
type series struct {
	mu     sync.Mutex
	begin  time.Time
	step   time.Duration
	points []interval
}

const (
	maxPoints = 300
	firstStep = 100 * time.Millisecond
)

type interval struct {
	handshakes, errors int64
	inFlight           int
	latency            *hdrhistogram.Histogram
}

func newSeries(begin time.Time) *series { return &series{begin: begin, step: firstStep} }

// restart makes the series begin at the given time, without what it had recorded.
func (s *series) restart(begin time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin, s.step, s.points = begin, firstStep, nil
}

func (s *series) beginning() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin
}

// add adds what one loop counted in an interval that began at the given time.
func (s *series) add(at time.Time, in *interval) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(max(at.Sub(s.begin), 0) / s.step)
	for i >= maxPoints {
		s.halve()
		i /= 2
	}
	for len(s.points) <= i {
		s.points = append(s.points, interval{latency: newHistogram(SeriesDigits)})
	}
	s.points[i].add(in)
}

// untilNext returns the time until the next interval begins. A caller that adds at
// these times leaves no interval empty. One that adds in fixed steps may.
func (s *series) untilNext(now time.Time) time.Duration {
	return firstStep - max(now.Sub(s.begin), 0)%firstStep
}

func (p *interval) add(in *interval) {
	p.handshakes += in.handshakes
	p.errors += in.errors
	p.inFlight = max(p.inFlight, in.inFlight)
	p.latency.Merge(in.latency)
}

// halve merges each pair of intervals into one.
func (s *series) halve() {
	n := (len(s.points) + 1) / 2
	for i := range n {
		p := s.points[2*i]
		if 2*i+1 < len(s.points) {
			p.add(&s.points[2*i+1])
		}
		s.points[i] = p
	}
	clear(s.points[n:])
	s.points = s.points[:n]
	s.step *= 2
}

// result returns the points. Their times count from start, the start of the measured
// part.
func (s *series) result(start time.Time) []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	points := make([]Point, 0, len(s.points))
	for i := range s.points {
		p := &s.points[i]
		points = append(points, p.point(s.begin.Sub(start)+time.Duration(i)*s.step, s.step))
	}
	return points
}

// point returns the interval of a result.
func (p *interval) point(at, length time.Duration) Point {
	sums := percentiles(p.latency)
	return Point{
		At:         at.Seconds(),
		Length:     length.Seconds(),
		Handshakes: p.handshakes,
		Errors:     p.errors,
		P50:        sums.P50,
		P99:        sums.P99,
		Max:        sums.Max,
		InFlight:   p.inFlight,
		Histogram:  encode(p.latency),
	}
}

// lately returns the rate and the p99 of about the last second.
func (s *series) lately(now time.Time) (rate float64, p99 time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(int(time.Second/s.step), 1)
	first := max(len(s.points)-n, 0)
	sum := interval{latency: newHistogram(SeriesDigits)}
	for i := first; i < len(s.points); i++ {
		sum.add(&s.points[i])
	}
	since := now.Sub(s.begin.Add(time.Duration(first) * s.step))
	if since <= 0 {
		return 0, 0
	}
	return float64(sum.handshakes) / since.Seconds(), time.Duration(percentiles(sum.latency).P99) * time.Microsecond
}
