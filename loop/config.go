package loop

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Config configures a Loop. The zero value is a good configuration.
type Config struct {
	// MaxJobs is the most jobs at a time, 0 for 10,000. When that many are
	// alive no connection is accepted, and no job started, until one ends. Some
	// are kept for connections that have been served before (their handshake is
	// done, or their handler has parked them): one for each that is parked, but a
	// quarter of MaxJobs at most, rounded down. New connections cannot have these.
	// Jobs that other jobs start are counted apart: see Loop.Go.
	MaxJobs int

	// InitialJobs is how many coroutines are made when the loop starts.
	InitialJobs int

	// MaxQueued is the most calls of Go and Post that may wait for the loop, 0 for
	// 65,536. Further ones get ErrQueueFull.
	MaxQueued int

	// AcceptsPerTurn is the most connections a listener accepts in a turn of
	// the loop, 0 for 1. Work in progress comes first: while more of them wait
	// for the loop, others wait in the kernel, where they cost less.
	AcceptsPerTurn int

	// Backlog is the most connections to a listener that wait in the kernel
	// until they are accepted, 0 for as many as the system allows. Further ones
	// have to try again. Under overload MaxWait makes it shorter by itself.
	Backlog int

	// MaxWait is how long a new connection may wait to be served, in the kernel
	// and with the loop, when more come than can be served: 0 for 100 ms, negative
	// for as long as it likes. Less than 20 ms makes little sense: the kernel
	// counts in steps of 4 or 10 ms.
	//
	// New connections are served in the order in which they have come. All are
	// served as long as their number gets smaller, as it does after many have
	// come at once; or as long as nobody gives up and they wait for less than 20
	// times MaxWait. Otherwise those that have waited longer than MaxWait are
	// reset until nobody has to wait any more. Since that is work too, the kernel
	// keeps no more meanwhile than can be served or reset in time. It drops the
	// first packets (SYN) of others, whose systems send them again after a second.
	//
	// A client that is reset and comes again at once counts as a new one. So when
	// this has gone on for 300 times twice MaxWait, a minute, it ends, and begins
	// again only if clients give up again, or wait that long. How long a
	// connection has waited in the kernel only Linux tells, and of TCP; elsewhere
	// only its wait with the loop counts.
	MaxWait time.Duration

	// MaxConns is the most connections that are accepted and not closed, 0 for
	// no bound but that of descriptors. Further ones are reset; but if one that is
	// open only waits for its peer to close it too, that one is closed instead. In
	// a Group it bounds those of all loops together. Whoever has given up or
	// waited too long is not counted as refused.
	MaxConns int

	// MaxConnsPerAddress is the most connections of each client, 0 for no bound: a
	// client is an IPv4 address, or the first 64 bits of an IPv6 address. Further
	// ones are reset. Unix sockets have no addresses. In a Group it bounds those
	// of all loops together.
	MaxConnsPerAddress int

	// Accept, if not nil, is asked whether to accept a connection from an
	// address; if not, it is reset. Closed, if not nil, is called when a
	// connection that was accepted is closed, and no more is sent or received on
	// it: a limiter of one's own counts up in one and down in the other. They are
	// called on the goroutine of the loop, outside any job, and must not wait; but
	// at the end of a loop Closed is called on other goroutines too. The loops of
	// a Group call them at the same time.
	Accept func(remote net.Addr) bool
	Closed func(remote net.Addr)

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
		{"MaxConns", &c.MaxConns, 0},
		{"MaxConnsPerAddress", &c.MaxConnsPerAddress, 0},
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
		{&c.MaxWait, 100 * time.Millisecond},
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
