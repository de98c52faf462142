package load

import (
	"math"
	"sync/atomic"
	"time"
)

// stage is a part of a run with one rate or number of connections. It consists of
// the ramp, the warm-up and the measured part. A sweep has several stages.
type stage struct {
	rate        float64 // of an open loop; 0: closed loop
	connections int
	ramp        time.Duration
	count       int64 // measured visits, 0: no limit
	workers     int
	number      int // in a sweep, from 0 on

	begin time.Time
	start time.Time // of the measured part
	end   time.Time // of the measured part; zero: it ends after count visits

	running atomic.Int32  // workers that are not done
	done    chan struct{} // closed when all workers are done
}

const forever time.Duration = 100 * 365 * 24 * time.Hour

func (r *run) newStage(rate float64, ramp, warmup time.Duration) *stage {
	c := r.cfg
	s := &stage{rate: rate, connections: c.Connections, ramp: ramp, count: c.Count, workers: len(r.workers), number: r.stages, begin: time.Now()}
	r.stages++
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

// measuredUntil is the end of the measured part; far away if it is not known.
func (s *stage) measuredUntil() time.Time {
	if s.end.IsZero() {
		return s.begin.Add(forever)
	}
	return s.end
}

// share returns a worker's share of n.
func (s *stage) share(n int64, index int) int64 {
	workers := int64(s.workers)
	share := n / workers
	if int64(index) < n%workers {
		share++
	}
	return share
}

// over reports whether the stage begins no more visits.
func (s *stage) over(now time.Time) bool { return !s.end.IsZero() && !now.Before(s.end) }

// due returns when the n-th visit of an open loop is due; n need not be whole. In the
// ramp the rate grows evenly from 0, so n grows with the square of time.
func (s *stage) due(n float64) time.Time {
	ramp := s.ramp.Seconds()
	inRamp := s.rate * ramp / 2
	at := ramp + (n-inRamp)/s.rate
	if n < inRamp {
		at = math.Sqrt(2 * n * ramp / s.rate)
	}
	return s.begin.Add(time.Duration(min(at, forever.Seconds()) * float64(time.Second)))
}

// counts reports whether a visit belongs to the measured part: it does if it was due
// in that part, whenever it ended. Long visits are therefore not lost at the end. (In
// a closed loop a visit is due when it begins.)
func (s *stage) counts(v *visit) bool {
	if s.count > 0 && s.rate == 0 {
		return v.measured
	}
	return !v.due.Before(s.start)
}

// inTime reports whether a visit counts in the throughput of the measured part: it
// does if it ended in that part, whenever it was due. A measured part with a count
// lasts until the end of its last visit.
func (s *stage) inTime(v *visit) bool {
	if s.count > 0 {
		return s.counts(v)
	}
	return !v.ended.Before(s.start) && v.ended.Before(s.end)
}
