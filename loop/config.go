package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config configures a Loop. The zero value is a good configuration.
type Config struct {
	// MaxJobs is the most jobs at a time, 0 for 10,000. When that many are
	// alive no connection is accepted, and no job started, until one ends. Jobs
	// that other jobs start are counted apart: see Loop.Go.
	MaxJobs int

	// InitialJobs is how many coroutines are made when the loop starts.
	InitialJobs int

	// MaxQueued is the most calls of Go and Post that may wait for the loop, 0 for
	// 65,536. Further ones get ErrQueueFull.
	MaxQueued int

	// AcceptsPerTurn is the most connections a listener accepts in a turn of
	// the loop, 0 for 1. Work in progress comes first: with many at a time, a
	// loop that has more work than time collects connections instead of
	// finishing them.
	AcceptsPerTurn int

	// Backlog is the most connections to a listener that wait in the kernel
	// until they are accepted, 0 for as many as the system allows. Further ones
	// have to try again, or are reset. Those that wait are served in their
	// order: a backlog that takes longer to work off than clients wait is
	// worked off for nothing.
	Backlog int

	// PollInterval is how soon a job is resumed that has paused without a
	// descriptor and without a callback to wait for, 0 for a millisecond. When
	// that is for nothing it is left alone for longer and longer, up to 256 times
	// that. A minute is the most.
	PollInterval time.Duration

	// IdleTimeout bounds a Read, and the wait of a parked connection, that has
	// no deadline of its own: 0 for two minutes, negative for no bound.
	IdleTimeout time.Duration

	// WriteTimeout bounds each wait of a Write that has no deadline of its own:
	// 0 for 30 seconds, negative for no bound.
	WriteTimeout time.Duration

	// LingerTimeout is how long a connection that has been closed is kept, without
	// a job, until its peer has closed it too: 0 for 5 seconds, negative for not
	// at all. A peer that is still sending when the kernel closes a connection
	// would lose the end of what was written to it. No more than a megabyte is
	// taken from the peer meanwhile, and no more connections linger than MaxJobs
	// says, or 1,024.
	LingerTimeout time.Duration

	// BlockedAfter is how long a job may keep the thread before that is logged,
	// with the job's stack, and counted in Stats: 0 for a second, negative for no
	// such watch.
	BlockedAfter time.Duration

	// Logger is told of jobs that panic (at error level), of jobs that keep the
	// thread and of listeners that cannot accept (warn), and of jobs that return
	// an error (debug). nil for slog.Default.
	Logger *slog.Logger
}

// ErrInvalidConfig is New's answer to a Config it cannot work with.
var ErrInvalidConfig = errors.New("loop: invalid configuration")

func (c Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name string
		n    *int
		def  int
	}{
		{"MaxJobs", &c.MaxJobs, 10_000},
		{"MaxQueued", &c.MaxQueued, 65_536},
		{"AcceptsPerTurn", &c.AcceptsPerTurn, 1},
		{"Backlog", &c.Backlog, 0},
		{"InitialJobs", &c.InitialJobs, 0},
	} {
		if *f.n < 0 {
			return c, fmt.Errorf("%w: %s is %d", ErrInvalidConfig, f.name, *f.n)
		}
		if *f.n == 0 {
			*f.n = f.def
		}
	}
	if c.InitialJobs > c.MaxJobs {
		return c, fmt.Errorf("%w: InitialJobs is %d, MaxJobs %d", ErrInvalidConfig, c.InitialJobs, c.MaxJobs)
	}
	if c.PollInterval < 0 || c.PollInterval > time.Minute {
		return c, fmt.Errorf("%w: PollInterval is %v", ErrInvalidConfig, c.PollInterval)
	}
	for _, f := range []struct {
		d   *time.Duration
		def time.Duration
	}{
		{&c.PollInterval, time.Millisecond},
		{&c.IdleTimeout, 2 * time.Minute},
		{&c.WriteTimeout, 30 * time.Second},
		{&c.LingerTimeout, 5 * time.Second},
		{&c.BlockedAfter, time.Second},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}
