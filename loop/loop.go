// Package loop is an event loop that runs jobs. A job is ordinary blocking code,
// and many jobs share one thread. When a job would wait for a socket, a timer or
// a key engine, it pauses, and the loop runs other jobs. The loop resumes it when
// what it waits for is ready.
//
// A server consists of a [Loop], a [Handler] that runs as a job for each
// connection, and a call of [Loop.Listen]. [TLSHandler] adds crypto/tls. To use
// several cores, make a [Group] of loops. [Loop.Go] starts a job that belongs to
// no connection. Inside a job, [Sleep] and [Dial] wait without blocking the
// thread. A [Conn] is a net.Conn. Libraries that take a net.Conn and start no
// goroutines of their own work on it unchanged. For others, such as net/http,
// [ListenTLS] makes only the TLS handshakes on loops, [Conn.Detach] takes a connection
// off its loop, and [Loop.Attach] brings one in.
//
// # Rules
//
// Run locks its goroutine to its thread, and all jobs of the loop run there. Only
// the loop resumes and cancels its jobs: do not call their Resume and Cancel.
//
// A job that waits in a way the loop does not know of (a channel, a contended
// mutex, a file, net.Dial) blocks all other jobs. A mutex that one job holds
// while it pauses, and that another job of the loop wants, is a deadlock. Code
// that must block belongs on a goroutine of its own: [Await] pauses the job until
// that goroutine is done. Package jobsync has a mutex, channels and groups that
// pause jobs instead of blocking them.
//
// The methods of Conn and TLSConn are for jobs of their loop. Only Close,
// LocalAddr and RemoteAddr may be called from any goroutine. The comments of other
// functions say from where they may be called; "the loop's goroutine" includes
// jobs. A goroutine that a job starts is outside the job: calls that would have to
// pause return [ErrNotInJob] there.
package loop

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/admission"
	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/internal/host"
	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/jobs"
)

// Loop runs jobs on one thread. It is made by New.
type Loop struct {
	cfg    Config
	poller *poller
	pool   *jobs.Pool
	jobCtx context.Context // the parent of all jobs' contexts
	epoch  time.Time
	now    int64 // as of the last wait for events, on the loop's clock

	slots      []slot // by descriptor
	conns      int    // open
	lingering  int    // closed, but still waiting for the peer
	lingerScan int    // where closeOneLingering stopped
	listeners  []*Listener

	tasks []*task // of all jobs alive or to be started
	queues
	queue     *admission.Queue // decides about early and fresh
	freeTasks *task
	current   *task // the task whose job has the thread
	census    *census

	timers   timerHeap
	nextTrim int64 // when the pool is trimmed next; 0: no need to
	peakJobs int   // most jobs at a time since the last trim

	beforeSleep    hooks
	afterJobs      hooks
	locals         map[any]any
	warned         int64           // when warn last logged
	wakeCallback   func(any) error // wakeTask as a value, made once
	added, deleted []int           // scratch space of learn
	scratch        []byte          // see scratchBuffer
	spare          [2]int          // see spareDescriptors; 0: none
	events         [256]event

	logs      *logqueue.Handler // before Config.Logger's
	logger    *slog.Logger      // on logs
	in        inbox
	dog       watchdog
	steps     uint64         // progress counter for the watchdog
	goroutine atomic.Uintptr // Run's goroutine, while it runs
	load      atomic.Int64   // tasks except helpers, plus connections that will need one
	dealt     atomic.Int64   // connections sent by other loops and not taken yet
	full      atomic.Bool    // other loops should send no connections
	stopping  atomic.Int32   // stopNot, stopDrain or stopNow
	draining  bool
	ending    bool  // in teardown
	counts    Stats // belongs to the loop's goroutine
	stats     published

	mu      sync.Mutex // guards the following
	running bool
	began   chan struct{} // closed when Run has been called
	done    chan struct{} // closed when the loop has ended
	ended   bool
}

const (
	stopNot int32 = iota
	stopDrain
	stopNow
)

// slot is what the loop knows of one descriptor.
type slot struct {
	conn  *Conn
	ln    *Listener
	watch *watch
	gen   generation
}

// start is the zero of the clock that all loops share. Because of it, loops can
// exchange times.
var start = time.Now()

// New returns a loop that is not running yet. Its errors are ErrInvalidConfig,
// ErrUnsupported, and those of the system.
func New(cfg Config) (*Loop, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	l := &Loop{cfg: cfg, poller: p, epoch: start, census: new(census), began: make(chan struct{}), done: make(chan struct{})}
	l.logs = logqueue.New(cfg.Logger.Handler())
	l.logger = slog.New(l.logs)
	l.queue = admission.New(cfg.MaxWait)
	l.wakeCallback = l.wakeTask
	return l, nil
}

// FromContext returns the loop of the job that ctx was given to.
func FromContext(ctx context.Context) (*Loop, bool) {
	l, ok := host.From(ctx).(*Loop)
	return l, ok
}

// Run runs the loop on the calling goroutine, which it locks to its thread. It
// returns nil after Close or Shutdown, and context.Cause(ctx) after ctx has ended.
// Before it returns, it closes everything and cancels all jobs, as described at
// Close, and gives Config.Logger up to a second to write what was logged. A second
// call returns ErrRunning, or ErrClosed once the loop has ended.
func (l *Loop) Run(ctx context.Context) error {
	l.mu.Lock()
	switch {
	case l.ended:
		l.mu.Unlock()
		return ErrClosed
	case l.running:
		l.mu.Unlock()
		return ErrRunning
	}
	l.running = true
	close(l.began)
	l.goroutine.Store(goroutine.ID())
	l.mu.Unlock()

	defer l.logs.Queue().Flush(context.Background(), logqueue.Patience)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The pool's coroutines remember that their creator was locked, and to which
	// thread. So the pool is made here, and closed before the thread is unlocked.
	pool, err := jobs.NewPool(0, l.cfg.InitialJobs) // no limit here: the loop's room limits it
	if err != nil {
		l.end()
		return err
	}
	l.pool = pool
	l.jobCtx = host.With(context.WithoutCancel(ctx), l)
	defer context.AfterFunc(ctx, func() { l.stop(stopNow) })()
	defer l.beginWatch()()

	defer func() { // runs even if a function that the loop calls ends the goroutine
		defer l.end()
		l.teardown()
	}()
	if err := l.loop(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// loop runs turns until it is told to stop.
func (l *Loop) loop() error {
	l.now = l.clock()
	for {
		switch l.stopping.Load() {
		case stopNow:
			return nil
		case stopDrain:
			l.drain()
			if l.idle() {
				return nil
			}
		}
		if err := l.turn(); err != nil {
			return err
		}
	}
}

// idle reports whether a loop that shuts down has nothing left to do.
func (l *Loop) idle() bool {
	if l.busy() {
		return false
	}
	l.takeMessages() // one may close a connection that still has output
	return !l.busy()
}

// busy reports whether a loop that shuts down still has to wait for something:
// jobs, connections that linger or may still be served, or listeners with
// connections to accept.
func (l *Loop) busy() bool {
	return len(l.tasks) > 0 || l.parked > 0 || l.lingering > 0 || len(l.listeners) > 0
}

// turn polls once, then runs what is ready: first work in progress, then new
// work. If nothing is ready, it blocks in the poller.
func (l *Loop) turn() error {
	if err := l.poll(); err != nil {
		return err
	}
	l.counts.Turns++
	l.step()
	l.wakeDog()
	l.takeMessages()
	l.runReady()
	l.acceptAll()
	l.callAll(&l.afterJobs)
	l.runTimers()
	l.trim()
	l.publish()
	return nil
}

// poll waits for events and marks what they make ready.
func (l *Loop) poll() error {
	timeout := l.timeout()
	if timeout != 0 && len(l.beforeSleep) > 0 {
		// If there really is nothing to do, gathered work has waited long enough.
		n, err := l.poller.wait(l.events[:], 0)
		if err != nil {
			return err
		}
		if n > 0 || l.in.n.Load() > 0 {
			l.dispatch(n)
			return nil
		}
		l.callAll(&l.beforeSleep)
		timeout = l.timeout()
	}
	if timeout != 0 {
		l.in.sleeping.Store(true)
		// A message sent before the flag was set has not woken the poller.
		if l.in.n.Load() > 0 || l.mustStop() {
			timeout = 0
		}
	}
	n, err := l.poller.wait(l.events[:], timeout)
	l.in.sleeping.Store(false)
	// Events of work in progress may be queued behind many of new work.
	for batch := 1; err == nil && n == len(l.events) && batch < maxBatches; batch++ {
		l.dispatch(n)
		n, err = l.poller.wait(l.events[:], 0)
	}
	if err != nil {
		return err
	}
	l.dispatch(n)
	return nil
}

// maxBatches is the most batches of events that one turn takes.
const maxBatches = 64

// mustStop reports whether there is a call of Shutdown or Close to act on.
func (l *Loop) mustStop() bool {
	level := l.stopping.Load()
	return level == stopNow || level == stopDrain && !l.draining
}

// timeout returns how long the loop may sleep: 0 if there is something to do,
// negative if only an event can end the sleep.
func (l *Loop) timeout() time.Duration {
	if l.hasWork() || l.in.n.Load() > 0 || l.canAccept() {
		return 0
	}
	next := l.nextTrim
	if len(l.timers) > 0 && (next == 0 || l.timers[0].when < next) {
		next = l.timers[0].when
	}
	if l.waitsForOthers() { // other loops do not announce when they have room
		if soon := l.after(dealInterval); next == 0 || soon < next {
			next = soon
		}
	}
	if next == 0 {
		return -1
	}
	return time.Duration(max(next-l.clock(), 0))
}

// dispatch marks what n events make ready.
func (l *Loop) dispatch(n int) {
	l.now = l.clock()
	l.counts.Events += uint64(n)
	for i := range l.events[:n] {
		e := &l.events[i]
		if e.fd >= len(l.slots) {
			continue
		}
		s := &l.slots[e.fd]
		if e.gen != s.gen {
			continue // the descriptor has been closed since, and perhaps reused
		}
		if s.conn != nil {
			s.conn.event(e)
		}
		if s.ln != nil {
			s.ln.event()
		}
		if s.watch != nil {
			s.watch.fire()
		}
	}
}

// slot returns the record of fd. The pointer is valid until the next call.
func (l *Loop) slot(fd int) *slot {
	if fd >= len(l.slots) {
		grown := make([]slot, max(fd+1, 2*len(l.slots), 64))
		copy(grown, l.slots)
		l.slots = grown
	}
	return &l.slots[fd]
}

// claim gives fd's slot to a new owner and tells the old one. An old owner that
// has not given it up had its descriptor closed behind the loop's back, and the
// number has been used again.
func (l *Loop) claim(fd int) *slot {
	s := l.slot(fd)
	old := *s
	*s = slot{gen: s.gen.next()}
	if old.conn != nil {
		old.conn.lost()
	}
	if old.watch != nil {
		old.watch.fire()
	}
	return l.slot(fd)
}

// scratchBuffer returns memory for bytes that are not kept. The caller must be
// done with it before calling anything else that may use it.
func (l *Loop) scratchBuffer() []byte {
	if l.scratch == nil {
		l.scratch = make([]byte, scratchSize)
	}
	return l.scratch
}

const scratchSize = 80 << 10 // see TLSConn.Write

// trimInterval is how often the loop frees coroutines that a burst of jobs has
// left behind.
const trimInterval = time.Second

// trim ends the coroutines that were not needed at any time in the last interval.
// It checks again after each interval until none are left over.
func (l *Loop) trim() {
	s := l.pool.Stats()
	busy := s.Paused
	l.peakJobs = max(l.peakJobs, busy)
	if l.nextTrim != 0 {
		if l.now < l.nextTrim {
			return
		}
		l.nextTrim = 0
		l.pool.Trim(max(l.peakJobs-busy, l.cfg.InitialJobs))
		l.freeTasks = nil
		s = l.pool.Stats()
	}
	if s.Idle > l.cfg.InitialJobs {
		l.nextTrim = l.after(trimInterval)
		l.peakJobs = busy
	}
}

// warnInterval is the shortest time between two warnings. Otherwise one cause
// could produce a warning for every connection.
const warnInterval = time.Second

func (l *Loop) warn(msg string, attrs ...slog.Attr) {
	if l.warned == 0 || l.now-l.warned >= int64(warnInterval) {
		l.warned = l.now
		l.log(slog.LevelWarn, msg, attrs...)
	}
}

func (l *Loop) log(level slog.Level, msg string, attrs ...slog.Attr) {
	l.logger.LogAttrs(context.Background(), level, msg, attrs...)
}

// Logger returns a logger that writes to Config.Logger without waiting for it, as
// the loop itself does: see there. Jobs, and functions that the loop calls, can use
// it. It may be used on any goroutine, also after the loop has ended.
//
// Attributes are copied at the call: values that are neither errors nor of a basic
// type or one of slog's kinds become text. Do not give it to slog.SetDefault unless
// Config.Logger has a handler of its own: package slog's first one would write to it.
func (l *Loop) Logger() *slog.Logger { return l.logger }
