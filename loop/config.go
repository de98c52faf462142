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
	// MaxJobs is the most jobs that may be alive at a time; 0 means 10,000. At the
	// limit, no connection is accepted and no job is started until one ends.
	//
	// Some jobs are reserved for connections that have been served before: their
	// handshake is done, or their handler has parked them. One job is reserved for
	// each such connection that is parked, up to a quarter of MaxJobs, rounded
	// down. New connections cannot use these.
	//
	// Jobs started by other jobs are counted separately: see Loop.Go.
	MaxJobs int

	// InitialJobs is how many coroutines are made when the loop starts.
	InitialJobs int

	// MaxQueued is the most calls of Go and Post that may wait for the loop; 0
	// means 65,536. Further calls return ErrQueueFull.
	MaxQueued int

	// AcceptsPerTurn is the most connections a listener accepts in one turn of
	// the loop; 0 means 1. Work in progress comes first: while accepted
	// connections wait for the loop, others wait in the kernel, where they cost
	// less. A turn that takes long may accept more, up to 64 times as many.
	AcceptsPerTurn int

	// Backlog is the most connections that may wait in the kernel to be accepted
	// by one listener; 0 means as many as the system allows. If the system allows
	// less (net.core.somaxconn on Linux), a warning is logged. Clients beyond the
	// limit have to try again. Under overload the loop reduces it: see MaxWait.
	Backlog int

	// MaxWait is how long a new connection may wait to be served when more arrive
	// than can be served. The wait in the kernel and the wait in the loop are
	// measured separately. 0 means 100 ms; negative means no limit. Less than
	// 20 ms makes little sense, because the kernel counts in steps of 4 or 10 ms.
	//
	// New connections are served in the order in which they arrive. After a burst
	// all are served, as long as the queue gets shorter. A queue that does not get
	// shorter is tolerated as long as no client gives up and nobody waits longer
	// than 20 times MaxWait. Otherwise the loop resets connections that have
	// waited longer than MaxWait, until nobody has to wait any more. Resetting is
	// work too, so the kernel's queue is meanwhile limited to what can be served
	// or reset in time. The kernel drops the first packets (SYN) of further
	// clients, which send them again after a second.
	//
	// A client that is reset and reconnects at once counts as a new one, which can
	// look like overload. So the resetting stops after 300 times twice MaxWait, a
	// minute by default. It starts again only if clients give up or wait longer
	// than 20 times MaxWait.
	//
	// Only Linux reports how long a connection has waited in the kernel, and only
	// for TCP. Elsewhere only the wait in the loop counts.
	MaxWait time.Duration

	// MaxConns is the most connections that may be open at a time; 0 means no
	// limit but that of descriptors. Further connections are reset. But if an older
	// connection is only lingering (see LingerTimeout), that one is closed instead.
	// In a Group the limit applies to all loops together. Clients that have given up
	// or waited too long do not count as refused.
	MaxConns int

	// MaxConnsPerAddress is the most connections a client may have open; 0 means
	// no limit. A client is an IPv4 address, or the first 64 bits of an IPv6
	// address. Further connections are reset, unless one of the client's is only
	// lingering and can be closed instead. Unix sockets are not limited, since they
	// have no addresses. In a Group the limit applies to all loops together.
	MaxConnsPerAddress int

	// Accept, if not nil, decides whether to accept a connection from an address;
	// if it returns false, the connection is reset. Closed, if not nil, is called
	// when an accepted connection has been closed and nothing more is sent or
	// received on it. A custom limiter can count up in Accept and down in Closed.
	//
	// Both are called on the loop's goroutine, outside any job, and must not wait.
	// When a loop ends, Closed is also called on other goroutines. The loops of a
	// Group may call them at the same time.
	Accept func(remote net.Addr) bool
	Closed func(remote net.Addr)

	// PollInterval is how soon the loop resumes a job that has paused with neither
	// a descriptor nor a callback to wait for; 0 means a millisecond, and a minute
	// is the most. If the job pauses again each time, the interval doubles, up to
	// 256 times PollInterval.
	PollInterval time.Duration

	// IdleTimeout bounds each Read, and each wait of a parked connection, that has
	// no deadline of its own. 0 means two minutes; negative means no limit.
	IdleTimeout time.Duration

	// WriteTimeout bounds each wait of a Write that has no deadline of its own.
	// 0 means 30 seconds; negative means no limit.
	WriteTimeout time.Duration

	// LingerTimeout is how long a closed connection is kept, without a job, until
	// its peer has closed it too. 0 means 5 seconds; negative means not at all.
	// Without lingering, a peer that is still sending would lose the end of what
	// was written to it. The loop discards at most a megabyte from a lingering
	// peer. At most MaxJobs connections linger at a time, or 1,024 if MaxJobs is
	// less.
	LingerTimeout time.Duration

	// BlockedAfter is how long a job may keep the thread before the loop logs it,
	// with the job's stack, and counts it in Stats. 0 means a second; negative
	// turns the check off.
	BlockedAfter time.Duration

	// Logger gets jobs that panic (at error level), jobs that keep the thread,
	// listeners that cannot accept and settings that the system cuts short (warn),
	// and errors that jobs return (debug).
	// nil means slog.Default.
	//
	// Its handler is called on a goroutine of its own, which exists only while there
	// is something to log. Records come in the order and with the times of the
	// events. The loop does not wait for the handler, which may therefore block,
	// panic, or call the methods of Loop, even Shutdown. Up to 1,024 records wait for
	// it. Further ones are lost; they are counted in Stats.LogsDropped, and the
	// next record, at warn level, says how many there were. Each loop of a Group has
	// its own such goroutine, so the handler may be called by several at a time.
	// Errors are passed on as they are. Other values that may change meanwhile, as
	// that of a panic, are passed on as text.
	//
	// The handler's Enabled is asked there, too. If it says no, that is believed for
	// a tenth of a second: a lower level takes effect that much later.
	//
	// Run and Shutdown wait up to a second until the handler has been called for all
	// records. Close does not wait. The loop goes on after a handler that is stuck,
	// but its goroutine stays.
	Logger *slog.Logger
}

// ErrInvalidConfig is returned by New for a Config it cannot use.
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
