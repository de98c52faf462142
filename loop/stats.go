package loop

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats counts what a loop does. Fields marked "now" are current values; all
// others are totals since the loop was made.
type Stats struct {
	JobsRunning  uint64 // now: 1 while jobs have the thread
	JobsPaused   uint64 // now
	JobsQueued   uint64 // now: jobs to be started when there is room
	JobsStarted  uint64
	JobsFinished uint64 // including those cancelled and panicked
	JobsCanceled uint64
	JobsPanicked uint64 // ended by a panic or by runtime.Goexit
	JobsBlocked  uint64 // times a job kept the thread for Config.BlockedAfter
	PoolSize     uint64 // now: coroutines, with and without a job

	Conns         uint64 // now: open connections
	Lingering     uint64 // now: closed connections that wait for their peers to close too
	AcceptsPaused uint64 // times a listener was left alone for lack of jobs or descriptors
	Turns         uint64 // turns of the loop
	Events        uint64 // events reported by the poller
	LogsDropped   uint64 // log records lost because Config.Logger did not take them: see there

	// Accepted counts the connections taken out of the kernel's queue, except those
	// that a closed listener could not serve in time, which are logged. Each is also
	// counted in one of the following fields, except those still waiting for the
	// client's first bytes or a job, and those that ended while waiting: they were
	// closed, they timed out, or the loop shut down. In a Group, one loop may accept
	// a connection that another serves; only the sums of all loops match.
	Accepted       uint64
	Gone           uint64 // the client had given up before it was served
	Shed           uint64 // turned away after waiting too long: see Config.MaxWait
	RefusedConns   uint64 // turned away by Config.MaxConns
	RefusedAddress uint64 // turned away by Config.MaxConnsPerAddress
	RefusedAccept  uint64 // turned away by Config.Accept
	Waits          Waits  // served, by how long they had waited

	// The following are known only for TCP on Linux. They are updated every 200 ms
	// under load, or every two Config.MaxWait.
	Backlog      uint64 // now: connections that wait in the kernel
	BacklogDrops uint64 // connection attempts dropped because the backlog was full; clients try again
}

// Waits is a histogram of how long connections waited before they were served. It
// includes the wait in the kernel, where that is known, and the wait in the loop,
// but not the wait for the client's first bytes.
type Waits struct {
	Counts [16]uint64 // Counts[i]: waits of at least WaitBound(i-1) and less than WaitBound(i)
	Sum    uint64     // of all waits, in nanoseconds
}

// numWaits is the number of classes. Their bounds go from 1 ms to 16 s, and the
// last class has no bound.
const numWaits = len(Waits{}.Counts)

// WaitBound returns the upper bound of Waits.Counts[i]: 1 ms, 2 ms, 4 ms and so
// on. The last class, 15, has no bound: WaitBound returns the longest Duration for
// it. It panics if i is negative.
func WaitBound(i int) time.Duration {
	if i >= numWaits-1 {
		return math.MaxInt64
	}
	return time.Millisecond << i
}

// countWait counts a connection that is served after a wait.
func (s *Stats) countWait(wait time.Duration) {
	i := min(bits.Len64(uint64(wait/time.Millisecond)), numWaits-1)
	s.Waits.Counts[i]++
	s.Waits.Sum += uint64(wait)
}

// Add adds o to s, field by field.
func (s *Stats) Add(o Stats) {
	sf, of := s.fields(), o.fields()
	for i := range sf {
		*sf[i] += *of[i]
	}
}

// statRunning is the index of JobsRunning in fields.
const statRunning = 0

func (s *Stats) fields() [numStats]*uint64 {
	f := [numStats]*uint64{
		&s.JobsRunning, &s.JobsPaused, &s.JobsQueued, &s.JobsStarted, &s.JobsFinished,
		&s.JobsCanceled, &s.JobsPanicked, &s.JobsBlocked, &s.PoolSize, &s.Conns, &s.Lingering,
		&s.AcceptsPaused, &s.Turns, &s.Events, &s.Accepted, &s.Gone, &s.Shed, &s.RefusedConns,
		&s.RefusedAddress, &s.RefusedAccept, &s.Backlog, &s.BacklogDrops, &s.LogsDropped, &s.Waits.Sum,
	}
	for i := range s.Waits.Counts {
		f[numStats-numWaits+i] = &s.Waits.Counts[i]
	}
	return f
}

const numStats = 24 + numWaits

// published is the copy of the counts that other goroutines read. The loop
// updates it at the end of each turn.
type published [numStats]atomic.Uint64

// Stats returns the loop's counts as of its last turn. It may be called from
// any goroutine, at any time.
func (l *Loop) Stats() Stats {
	var s Stats
	for i, f := range s.fields() {
		*f = l.stats[i].Load()
	}
	s.JobsBlocked = l.dog.blocked.Load() // a blocked loop cannot publish it
	s.LogsDropped = l.logs.Queue().Dropped()
	return s
}

// publish updates the published counts.
func (l *Loop) publish() {
	p := l.pool.Stats()
	c := &l.counts
	c.JobsPaused = uint64(p.Paused)
	c.JobsQueued = uint64(l.nunstarted())
	c.JobsStarted = p.Started
	c.JobsFinished = p.Finished
	c.JobsCanceled = p.Canceled
	c.JobsPanicked = p.Panicked
	c.PoolSize = uint64(p.Paused + p.Idle)
	c.Conns = uint64(l.conns)
	c.Lingering = uint64(l.lingering)
	if full := !l.hasRoom() || l.fresh.n > l.accepts(); full != l.full.Load() {
		l.full.Store(full)
	}
	for i, f := range c.fields() {
		if l.stats[i].Load() != *f { // a load is cheaper than a store
			l.stats[i].Store(*f)
		}
	}
}
