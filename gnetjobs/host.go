package gnetjobs

import (
	"context"
	"math"
	"runtime/debug"
	"time"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/monotonic"
	"github.com/jobloop/jobloop/internal/panicvalue"
	"github.com/jobloop/jobloop/jobs"
)

// host runs the jobs of one of gnet's event loops. Except for its inbox, it belongs
// to the loop's goroutine.
//
// Every call by gnet is enclosed in enter and leave. In between, jobs only become
// ready and connections only ask for attention; leave then handles both. So no
// callback of the wrapped handler is called inside a job or inside another
// callback. There is one exception, due to gnet: if a Write fails, gnet calls
// OnClose inside it.
type host struct {
	handler *handler
	loop    gnet.EventLoop
	pool    *jobs.Pool
	ctx     context.Context // the parent of its jobs' contexts
	start   time.Time

	conns     int
	lingering int    // how many of conns linger
	depth     int    // nesting of enter
	events    uint64 // callbacks of gnet and runs of jobs, so far
	callback  *conn  // the connection of gnet's callback in progress, or nil
	shutdown  bool   // a handler has asked for a shutdown

	current      *task // the running task
	ready        taskList
	starts       taskList // wait for another job to end
	free         taskList
	away         int     // paused jobs that wait for something other than their connections
	attention    []*conn // to be attended to when no callback is in progress
	wakeCallback func(any) error

	plaintext []byte // shared memory for the plaintext that handlers are shown
	sealed    []byte // records on their way to gnet

	timers timers
	polled []*task // to be resumed at pollAt
	pollAt int64
	hooks
	rounds
	order
	inbox  inbox
	pauser pauser
}

// keepIdle is how many idle coroutines a host keeps, so that it can start jobs
// without making one. Each may hold the stack of a handshake.
const keepIdle = 64

// plaintextSize is how many bytes a handler is shown at a time. gnet's own loops
// read as much at a time.
const plaintextSize = 64 << 10

// hostOf returns the event loop's host. It must be called on the loop's goroutine,
// to which the host's jobs will belong.
func (h *handler) hostOf(l gnet.EventLoop) *host {
	if v, ok := h.hosts.Load(l); ok {
		return v.(*host)
	}
	pool, err := jobs.NewPool(h.opts.MaxJobs, 0)
	if err != nil {
		panic(err) // the size has been checked
	}
	host := &host{handler: h, loop: l, pool: pool, start: time.Now(), plaintext: make([]byte, plaintextSize), pauser: newPauser(l)}
	host.ctx = engine.WithHost(context.Background(), host)
	host.wakeCallback = host.wakeTask
	host.order.init(host)
	h.hosts.Store(l, host)
	return host
}

// now returns the time on the host's clock. It is never 0.
func (h *host) now() int64 { return int64(time.Since(h.start)) + 1 }

// at converts a time to the host's clock. The result is never 0.
func (h *host) at(t time.Time) int64 {
	ns := monotonic.Since(h.start, t)
	if ns < math.MaxInt64 {
		ns++ // because now adds 1 too
	}
	return max(ns, 1)
}

// enter begins a callback of gnet for c, or if c is nil, anything else done on the
// loop's goroutine. inPoll says that gnet calls because of what its poll has found.
// It is false if gnet executes a function that it was given.
func (h *host) enter(c *conn, inPoll bool) {
	if h.depth == 0 {
		h.callback, h.inPoll = c, inPoll
	}
	h.depth++
	if c != nil {
		h.events++
	}
}

// leave ends what enter has begun, and returns what gnet has to do.
func (h *host) leave() gnet.Action {
	if h.depth > 1 {
		h.depth--
		return gnet.None
	}
	h.settle()
	c := h.callback
	h.callback = nil
	h.depth = 0
	if h.conns == 0 {
		h.rest()
	}
	switch {
	case h.shutdown:
		return gnet.Shutdown
	case c != nil && (c.closeNow || c.phase == phaseClosed): // so that gnet does not read from it again
		return gnet.Close
	}
	return gnet.None
}

// settle runs what has become ready, begins handshakes and calls the hooks.
func (h *host) settle() {
	h.runReady()
	h.beginHandshakes()
	h.callHooks(h.afterJobs)
	h.runReady()
	h.requestTurn()
	h.requestRound()
}

// runReady runs ready jobs and attends to connections until there are none left.
func (h *host) runReady() {
	for {
		if t := h.ready.pop(); t != nil {
			h.run(t)
			continue
		}
		if len(h.attention) == 0 {
			return
		}
		for i := 0; i < len(h.attention); i++ {
			h.attention[i].attend()
			h.attention[i] = nil
		}
		h.attention = h.attention[:0]
	}
}

// look makes sure that c is attended to when the callback in progress has returned.
// If there is none, because gnet executes a function that others have given it, it
// does so now.
func (h *host) look(c *conn) {
	h.attention = append(h.attention, c)
	if h.depth > 0 {
		return
	}
	h.enter(nil, false)
	if h.leave() == gnet.Shutdown {
		h.loop.Execute(h.ctx, h) // Run will tell gnet
	}
}

// rest is called when no connection is left. gnet does not report the end of a
// loop, so nothing that would outlive the loop may be left then.
func (h *host) rest() {
	h.pool.Trim(0)
	h.timers.stop()
	h.resumePolled() // clears the list: all these jobs have ended
	h.asked, h.idle = false, false
	h.turn = turnNone
	h.sealed = nil
	h.inbox.setOpen(false)
	messages, _ := h.inbox.take()
	for _, m := range messages {
		h.receive(m)
	}
}

// guard calls f, which is foreign code. If f panics, that is logged.
func (h *host) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			logError("panic: %v\n%s", panicvalue.Value{V: v}, debug.Stack())
		}
	}()
	f()
}

// Run is executed by gnet when the host has asked for it. It processes the inbox
// and the timers.
func (h *host) Run(context.Context) error {
	quiet := h.events == h.seen
	h.enter(nil, false)
	messages, why := h.inbox.take()
	if why&wakeTurn != 0 {
		h.turnCame()
	}
	for _, m := range messages {
		h.receive(m)
	}
	h.inbox.done(messages)
	h.expire()
	h.runReady()
	if why&wakeRound != 0 {
		h.roundEnded(quiet && !h.mayBegin())
	}
	if h.leave() == gnet.Shutdown {
		return errorx.ErrEngineShutdown
	}
	return nil
}
