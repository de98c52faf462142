package loop

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats counts what a loop does. Those without another word are totals since
// the loop was made.
type Stats struct {
	JobsRunning  uint64 // of the moment: 1 while jobs have the thread
	JobsPaused   uint64 // of the moment
	JobsQueued   uint64 // of the moment: to be started when the pool has room
	JobsStarted  uint64
	JobsFinished uint64 // including those canceled and panicked
	JobsCanceled uint64
	JobsPanicked uint64 // in a panic, or in runtime.Goexit
	JobsBlocked  uint64 // times a job has kept the thread for Config.BlockedAfter
	PoolSize     uint64 // of the moment: coroutines, with and without a job

	Conns         uint64 // of the moment: open connections
	Lingering     uint64 // of the moment: connections that wait for their peers to close them too
	AcceptsPaused uint64 // times a listener was left alone for want of jobs or descriptors
	Turns         uint64 // of the loop
	Events        uint64 // reported by the poller

	// Accepted connections are those taken out of the kernel's queue. Each is
	// counted in one of the following, but for those that wait still (for the
	// client's first bytes, or a job), and those that have ended so: they were
	// closed, their time was up, or the loop has shut down. In a Group another loop
	// may have accepted a connection than the one which serves it: the sums of all
	// loops match.
	Accepted       uint64
	Gone           uint64 // the client had given up before it was served
	Shed           uint64 // turned away because they had waited too long: see Config.MaxWait
	RefusedConns   uint64 // turned away by Config.MaxConns
	RefusedAddress uint64 // by Config.MaxConnsPerAddress
	RefusedAccept  uint64 // by Config.Accept
	Waits          Waits  // those that were served: how long they had waited

	// Of Linux, TCP, as of when that was last looked at: under load every 200 ms,
	// or twice Config.MaxWait.
	Backlog      uint64 // of the moment: connections that wait in the kernel
	BacklogDrops uint64 // attempts to connect that it has dropped because the backlog was full; clients try again
}

// Waits is a histogram of how long connections have waited before they were
// served: in the kernel, where it tells, and with the loop, but not for what the
// client has to send first.
type Waits struct {
	Counts [16]uint64 // Counts[i]: shorter than WaitBound(i), and not shorter than WaitBound(i-1)
	Sum    uint64     // of all, in nanoseconds
}

// numWaits is the number of classes: from a millisecond to 16 seconds, and more.
const numWaits = len(Waits{}.Counts)

// WaitBound is the upper bound of Counts[i] of a Waits: 1 ms, 2 ms, 4 ms and so on.
// The last one, 15, has none: its bound is the longest Duration there is. It panics
// if i is negative.
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
		&s.RefusedAddress, &s.RefusedAccept, &s.Backlog, &s.BacklogDrops, &s.Waits.Sum,
	}
	for i := range s.Waits.Counts {
		f[numStats-numWaits+i] = &s.Waits.Counts[i]
	}
	return f
}

const numStats = 23 + numWaits

// published is the copy of the counts that other goroutines read. The loop
// brings it up to date at the end of each turn.
type published [numStats]atomic.Uint64

// Stats returns the loop's counts as of its last turn. It may be called from
// any goroutine, at any time.
func (l *Loop) Stats() Stats {
	var s Stats
	for i, f := range s.fields() {
		*f = l.stats[i].Load()
	}
	s.JobsBlocked = l.dog.blocked.Load() // the loop itself cannot tell in time
	return s
}

// publish brings the published counts up to date.
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
		if l.stats[i].Load() != *f { // a load is cheap, a store is not
			l.stats[i].Store(*f)
		}
	}
}
