package loop

import "sync/atomic"

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
	Accepted      uint64 // connections
	AcceptsPaused uint64 // times a listener was left alone for want of jobs or descriptors
	Turns         uint64 // of the loop
	Events        uint64 // reported by the poller
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
	return [numStats]*uint64{
		&s.JobsRunning, &s.JobsPaused, &s.JobsQueued, &s.JobsStarted, &s.JobsFinished,
		&s.JobsCanceled, &s.JobsPanicked, &s.JobsBlocked, &s.PoolSize, &s.Conns, &s.Lingering, &s.Accepted,
		&s.AcceptsPaused, &s.Turns, &s.Events,
	}
}

const numStats = 15

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
	c.JobsQueued = uint64(l.starts.n + l.helpers.n)
	c.JobsStarted = p.Started
	c.JobsFinished = p.Finished
	c.JobsCanceled = p.Canceled
	c.JobsPanicked = p.Panicked
	c.PoolSize = uint64(p.Paused + p.Idle)
	c.Conns = uint64(l.conns)
	c.Lingering = uint64(l.lingering)
	for i, f := range c.fields() {
		if l.stats[i].Load() != *f { // a load is cheap, a store is not
			l.stats[i].Store(*f)
		}
	}
}
