package gnetjobs

import (
	"context"
	"math"
	"runtime/debug"
	"time"

	"github.com/panjf2000/gnet/v2"
	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/logging"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/monotonic"
	"github.com/jobloop/jobloop/jobs"
)

// host is what one of gnet's event loops runs jobs with. But for its inbox it
// belongs to the loop's goroutine.
//
// Whatever gnet calls is enclosed in enter and leave. In between jobs only
// become ready, and connections only ask to be looked at: leave sees to both. So
// no callback of the wrapped handler is called inside a job, and none inside
// another one, but for what gnet itself does: if a Write fails it calls OnClose
// in it.
type host struct {
	handler *handler
	loop    gnet.EventLoop
	pool    *jobs.Pool
	ctx     context.Context // of its jobs, but for the job
	start   time.Time

	conns     int
	lingering int    // of them
	depth     int    // of enter
	events    uint64 // callbacks of gnet's and turns of jobs, so far
	callback  *conn  // whose callback of gnet's this is, nil if none
	shutdown  bool   // a handler has asked for it

	current      *task // the one that runs
	ready        taskList
	starts       taskList // wait for another job to end
	free         taskList
	away         int     // paused jobs that wait for other things than their connections
	attention    []*conn // to be looked at when no callback is in progress
	wakeCallback func(any) error

	plaintext []byte // what a handler is shown
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

// keepIdle is how many coroutines without a job a host keeps, to start jobs
// without making one. Each may hold the stack of a handshake.
const keepIdle = 64

// plaintextSize is how much a handler is shown at a time, as much as gnet's
// own loops read at a time.
const plaintextSize = 64 << 10

// hostOf returns the event loop's host. It is called on its goroutine, to which
// the loop's jobs will belong.
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

// now is the time on the host's clock, never 0.
func (h *host) now() int64 { return int64(time.Since(h.start)) + 1 }

// at converts a time to the host's clock. It is never 0.
func (h *host) at(t time.Time) int64 {
	ns := monotonic.Since(h.start, t)
	if ns < math.MaxInt64 {
		ns++ // as now does
	}
	return max(ns, 1)
}

// enter begins a callback of gnet's that is about c, or with a nil c anything
// else that is done on its goroutine. inPoll says that gnet calls because of what
// its poll has found, and not because it executes what it was given.
func (h *host) enter(c *conn, inPoll bool) {
	if h.depth == 0 {
		h.callback, h.inPoll = c, inPoll
	}
	h.depth++
	if c != nil {
		h.events++
	}
}

// leave ends it, and says what gnet is to do.
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
	case c != nil && (c.closeNow || c.phase == phaseClosed): // gnet is not to read from it once more
		return gnet.Close
	}
	return gnet.None
}

// settle does what has become possible.
func (h *host) settle() {
	h.runReady()
	h.beginHandshakes()
	h.callHooks(h.afterJobs)
	h.runReady()
	h.requestTurn()
	h.requestRound()
}

// runReady runs jobs, and sees to connections, until there are none to.
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

// look has c looked at when the callback in progress has returned, or now if
// there is none: a function is being executed that gnet was given by others.
func (h *host) look(c *conn) {
	h.attention = append(h.attention, c)
	if h.depth > 0 {
		return
	}
	h.enter(nil, false)
	if h.leave() == gnet.Shutdown {
		h.loop.Execute(h.ctx, h) // which says so
	}
}

// rest is called when no connection is left. gnet does not tell when a loop
// ends, so whenever it may, nothing is left that would outlive it.
func (h *host) rest() {
	h.pool.Trim(0)
	h.timers.stop()
	h.resumePolled() // there is none left; they are forgotten
	h.asked, h.idle = false, false
	h.turn = turnNone
	h.sealed = nil
	h.inbox.setOpen(false)
	messages, _ := h.inbox.take()
	for _, m := range messages {
		h.receive(m)
	}
}

// guard calls f, which is not the host's code. If it panics, that is logged.
func (h *host) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			logging.Errorf("gnetjobs: panic: %v\n%s", v, debug.Stack())
		}
	}()
	f()
}

// Run is what the host has gnet execute: it does what is in the inbox, and
// what is due.
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
