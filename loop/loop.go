// Package loop is an event loop that runs jobs: ordinary blocking code, many
// pieces of it on one thread. Where a job would wait for a socket, a timer or
// a key engine it pauses, the loop runs others, and resumes it when what it
// waits for is ready.
//
// A server is a [Loop], a [Handler] that is run as a job for each connection,
// and [Loop.Listen]; [TLSHandler] puts crypto/tls in between. A program with
// more than one core to use has a [Group] of loops. [Loop.Go] starts a job
// that belongs to no connection; inside a job, [Sleep] and [Dial] wait without
// blocking. A [Conn] is a net.Conn, so that libraries which take one, and
// start no goroutine of their own, work on it as they are.
//
// # Rules
//
// Run locks its goroutine to its thread, and all jobs of the loop run there. They
// are the loop's to resume and to cancel: jobs.Job's Resume and Cancel are not for
// its users.
// A job that waits in any way the loop does not know of (a channel, a
// contended mutex, a file, net.Dial) stops all the others meanwhile. A mutex
// that is held over a pause and wanted by another job of the loop is a
// deadlock. What must block belongs on a goroutine of its own: [Await] pauses
// the job until it is done.
//
// The methods of Conn and TLSConn are for jobs of their loop, except Close,
// which may be called from any goroutine. Where other functions may be called
// from, their comments say; where a comment says "the loop's goroutine", that
// includes jobs. A goroutine that a job starts is outside the job: what would
// have to pause returns [ErrNotInJob] there.
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
	"github.com/jobloop/jobloop/jobs"
)

// Loop runs jobs on one thread. It is made by New.
type Loop struct {
	cfg    Config
	poller *poller
	pool   *jobs.Pool
	jobCtx context.Context // what the contexts of jobs derive from
	epoch  time.Time
	now    int64 // as of the last wait for events, on the loop's clock

	slots      []slot // by descriptor
	conns      int    // open
	lingering  int    // closed, but for their peers
	lingerScan int    // where closeOneLingering has got to
	listeners  []*Listener

	tasks []*task // of all jobs alive or to be started
	queues
	queue     *admission.Queue // of fresh
	freeTasks *task
	current   *task // whose job has the thread
	census    *census

	timers   timerHeap
	nextTrim int64 // when the pool is trimmed; 0: it need not be
	peakJobs int   // most jobs at a time since the last trim

	beforeSleep    hooks
	afterJobs      hooks
	locals         map[any]any
	warned         int64           // when warn last logged
	wakeCallback   func(any) error // wakeTask, made into a value once
	added, deleted []int           // scratch of learn
	scratch        []byte          // for bytes that nobody keeps
	events         [256]event

	in        inbox
	dog       watchdog
	steps     uint64         // what the watchdog is told
	goroutine atomic.Uintptr // Run's, while it runs
	load      atomic.Int64   // tasks, but for helpers, and connections that are to become one
	dealt     atomic.Int64   // connections that other loops have sent, and it has not taken yet
	full      atomic.Bool    // other loops are not to send any
	stopping  atomic.Int32   // a stopLevel
	draining  bool
	ending    bool  // in teardown
	counts    Stats // of the loop's goroutine
	stats     published

	mu      sync.Mutex // guards the following
	running bool
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

// start is when the clock of all loops began, so that one can tell another a
// time.
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
	l := &Loop{cfg: cfg, poller: p, epoch: start, census: new(census), done: make(chan struct{})}
	l.queue = admission.New(cfg.MaxWait)
	l.wakeCallback = l.wakeTask
	return l, nil
}

type contextKey struct{}

// FromContext returns the loop of the job that ctx was given to.
func FromContext(ctx context.Context) (*Loop, bool) {
	l, ok := ctx.Value(contextKey{}).(*Loop)
	return l, ok
}

// Run runs the loop on the calling goroutine, which it locks to its thread,
// until Close or Shutdown is called, and then returns nil; or until ctx is
// done, and then returns context.Cause(ctx). In every case it ends as Close
// says.
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
	l.goroutine.Store(goroutine.ID())
	l.mu.Unlock()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The pool's coroutines remember that their creator was locked, and to
	// which thread: it is made here, and closed before the thread is unlocked.
	pool, err := jobs.NewPool(0, l.cfg.InitialJobs) // room bounds it
	if err != nil {
		l.end()
		return err
	}
	l.pool = pool
	l.jobCtx = context.WithValue(context.WithoutCancel(ctx), contextKey{}, l)
	defer context.AfterFunc(ctx, func() { l.stop(stopNow) })()
	defer l.beginWatch()()

	defer func() { // also if a function that the loop calls ends its goroutine
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

// loop turns until it is told to stop.
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
	l.takeMessages() // a connection to be closed, perhaps, that has something to send
	return !l.busy()
}

// busy reports whether a loop that shuts down has something to wait for: jobs,
// connections that linger or may still be served, and those to be accepted.
func (l *Loop) busy() bool {
	return len(l.tasks) > 0 || l.parked > 0 || l.lingering > 0 || len(l.listeners) > 0
}

// turn polls once, and does what there is to do: first what is in progress,
// then what is new. It blocks in the poller if there is nothing.
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
		// Is there really nothing? Then gathered work has waited long enough.
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
		// A message that came before the flag was up has not woken the poller.
		if l.in.n.Load() > 0 || l.mustStop() {
			timeout = 0
		}
	}
	n, err := l.poller.wait(l.events[:], timeout)
	l.in.sleeping.Store(false)
	// What is in progress may be behind many that are new.
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

// maxBatches is the most batches of events that a turn takes.
const maxBatches = 64

// mustStop reports whether loop has a call of Shutdown or Close to act on.
func (l *Loop) mustStop() bool {
	level := l.stopping.Load()
	return level == stopNow || level == stopDrain && !l.draining
}

// timeout is how long the loop may sleep: 0 if there is something to do,
// negative if nothing but an event can change that.
func (l *Loop) timeout() time.Duration {
	if l.hasWork() || l.in.n.Load() > 0 || l.canAccept() {
		return 0
	}
	next := l.nextTrim
	if len(l.timers) > 0 && (next == 0 || l.timers[0].when < next) {
		next = l.timers[0].when
	}
	if l.waitsForOthers() { // and they do not say when they have room
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
			continue // of a descriptor that has been closed, and reused perhaps
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

// slot returns the record of fd. The pointer is good until the next call.
func (l *Loop) slot(fd int) *slot {
	if fd >= len(l.slots) {
		grown := make([]slot, max(fd+1, 2*len(l.slots), 64))
		copy(grown, l.slots)
		l.slots = grown
	}
	return &l.slots[fd]
}

// claim gives fd's slot to a new owner, and tells the old one. If that has not
// given it up, the descriptor has been closed behind the loop's back, and its
// number used again.
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

// scratchBuffer returns memory for bytes that are not kept. It is used up
// before anything else is called.
func (l *Loop) scratchBuffer() []byte {
	if l.scratch == nil {
		l.scratch = make([]byte, scratchSize)
	}
	return l.scratch
}

const scratchSize = 80 << 10 // see TLSConn.Write

// trimInterval is how often the memory of coroutines that a burst of jobs has
// left behind is given back.
const trimInterval = time.Second

// trim ends the coroutines that were not needed at any time in the last
// interval, and looks again after another one until none is left over.
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

// warnInterval is the least time between two warnings, which may have one cause
// and come with every connection.
const warnInterval = time.Second

func (l *Loop) warn(msg string, attrs ...slog.Attr) {
	if l.warned == 0 || l.now-l.warned >= int64(warnInterval) {
		l.warned = l.now
		l.log(slog.LevelWarn, msg, attrs...)
	}
}

func (l *Loop) log(level slog.Level, msg string, attrs ...slog.Attr) {
	defer func() { recover() }() // of a handler's panic there is nobody to tell
	l.cfg.Logger.LogAttrs(context.Background(), level, msg, attrs...)
}
