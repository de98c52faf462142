package load

import (
	"math"
	"sync/atomic"
	"time"
)

// stage is a part of a run with one rate or number of connections: ramp,
// warm-up, and the measured part. A sweep has several.
type stage struct {
	rate        float64 // open loop; 0: closed
	connections int
	ramp        time.Duration
	count       int64 // measured visits, 0: no limit
	workers     int

	begin time.Time
	start time.Time // of the measured part
	end   time.Time // of it; zero: when count visits are done

	running atomic.Int32  // workers
	done    chan struct{} // closed when none is
}

const forever time.Duration = 100 * 365 * 24 * time.Hour

func (r *run) newStage(rate float64, ramp, warmup time.Duration) *stage {
	c := r.cfg
	s := &stage{rate: rate, connections: c.Connections, ramp: ramp, count: c.Count, workers: len(r.workers), begin: time.Now()}
	s.start = s.begin.Add(ramp + warmup)
	if c.Duration > 0 {
		s.end = s.start.Add(c.Duration)
	}
	s.running.Store(int32(len(r.workers)))
	s.done = make(chan struct{})
	return s
}

func (s *stage) workerDone() {
	if s.running.Add(-1) == 0 {
		close(s.done)
	}
}

// measuredUntil is the end of the measured part, as far as that is known.
func (s *stage) measuredUntil() time.Time {
	if s.end.IsZero() {
		return s.begin.Add(forever)
	}
	return s.end
}

// share is a worker's share of n.
func (s *stage) share(n int64, index int) int64 {
	workers := int64(s.workers)
	share := n / workers
	if int64(index) < n%workers {
		share++
	}
	return share
}

// over reports whether nothing new is begun.
func (s *stage) over(now time.Time) bool { return !s.end.IsZero() && !now.Before(s.end) }

// due says when the n-th visit of an open loop is due. In the ramp the rate
// grows evenly from 0, so that n grows with the square of time.
func (s *stage) due(n int64) time.Time {
	ramp := s.ramp.Seconds()
	inRamp := s.rate * ramp / 2
	at := ramp + (float64(n)-inRamp)/s.rate
	if float64(n) < inRamp {
		at = math.Sqrt(2 * float64(n) * ramp / s.rate)
	}
	return s.begin.Add(time.Duration(min(at, forever.Seconds()) * float64(time.Second)))
}

// counts says whether a visit belongs to the measured part: if it was due in it,
// whenever it ended. (In a closed loop it is due when it is begun.) So no end
// hides those that take long.
func (s *stage) counts(v *visit) bool {
	if s.count > 0 && s.rate == 0 {
		return v.measured
	}
	return !v.due.Before(s.start)
}

// inTime says whether an ended visit counts in the throughput of the measured
// part: if it ended in it, whenever it was due. A part with a count lasts until
// its last visit's end.
func (s *stage) inTime(v *visit) bool {
	if s.count > 0 {
		return s.counts(v)
	}
	return !v.ended.Before(s.start) && v.ended.Before(s.end)
}
