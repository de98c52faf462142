package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// series is how a run went over time. However long that is, it has no more than
// maxPoints intervals: when they are used up, each two become one. It may be
// used from any goroutine.
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

// add adds what one loop has counted in an interval that began at a time.
func (s *series) add(at time.Time, in *interval) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := int(max(at.Sub(s.begin), 0) / s.step)
	for i >= maxPoints {
		s.halve()
		i /= 2
	}
	for len(s.points) <= i {
		s.points = append(s.points, interval{latency: newHistogram(2)})
	}
	s.points[i].add(in)
}

// untilNext is how long the first interval that has not begun at a time is away.
// Who adds then, and not a fixed time after the last, leaves no interval empty.
func (s *series) untilNext(now time.Time) time.Duration {
	return firstStep - max(now.Sub(s.begin), 0)%firstStep
}

func (p *interval) add(in *interval) {
	p.handshakes += in.handshakes
	p.errors += in.errors
	p.inFlight = max(p.inFlight, in.inFlight)
	p.latency.Merge(in.latency)
}

// halve makes one interval of each two.
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

// result returns the points, with times from that of the measured part's start.
func (s *series) result(start time.Time) []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	points := make([]Point, 0, len(s.points))
	for i := range s.points {
		p := &s.points[i]
		sums := percentiles(p.latency)
		points = append(points, Point{
			At:         (s.begin.Sub(start) + time.Duration(i)*s.step).Seconds(),
			Length:     s.step.Seconds(),
			Handshakes: p.handshakes,
			Errors:     p.errors,
			P50:        sums.P50,
			P99:        sums.P99,
			Max:        sums.Max,
			InFlight:   p.inFlight,
		})
	}
	return points
}

// lately returns the rate and the p99 of the last second or so.
func (s *series) lately(now time.Time) (rate float64, p99 time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(int(time.Second/s.step), 1)
	first := max(len(s.points)-n, 0)
	sum := interval{latency: newHistogram(2)}
	for i := first; i < len(s.points); i++ {
		sum.add(&s.points[i])
	}
	since := now.Sub(s.begin.Add(time.Duration(first) * s.step))
	if since <= 0 {
		return 0, 0
	}
	return float64(sum.handshakes) / since.Seconds(), time.Duration(percentiles(sum.latency).P99) * time.Microsecond
}
