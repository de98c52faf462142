package gnetjobs

import (
	"slices"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/jobs"
)

// A host is an engine.Host. Engines that gather the requests of several jobs
// have to know when a share of them can be done, and when nothing more will
// come: before the loop goes to sleep. gnet does not tell that. It does, once
// it has looked at all sockets, run what it was given to execute. So while
// jobs wait for engines, the host has itself called in that way: if nothing has
// happened meanwhile, the loop would have gone to sleep.

var _ engine.Host = (*host)(nil)

// hooks are functions of engines.
type hooks struct {
	afterJobs   hookList
	beforeSleep hookList
	locals      map[any]any
}

type hookList []*func()

func (l *hookList) add(f func()) (stop func()) {
	*l = append(*l, &f)
	return func() { *l = slices.DeleteFunc(slices.Clone(*l), func(g *func()) bool { return g == &f }) }
}

// callHooks calls those in l. One that is added or removed meanwhile makes no
// difference before the next time.
func (h *host) callHooks(l hookList) {
	for _, f := range l {
		h.guard(*f)
	}
}

// BeforeSleep makes the host call f when nothing is left to do, while jobs
// wait for engines.
func (h *host) BeforeSleep(f func()) (stop func()) { return h.beforeSleep.add(f) }

// AfterJobs makes the host call f when it has run the jobs that were ready.
func (h *host) AfterJobs(f func()) (stop func()) { return h.afterJobs.add(f) }

// Ready queues a paused job to be resumed.
func (h *host) Ready(j jobs.Job) {
	if t, ok := j.Value().(*task); ok && t.host == h {
		h.makeReady(t)
	}
}

// Post calls f on the event loop, from any goroutine.
func (h *host) Post(f func()) error { return h.send(message{f: f}) }

// Local returns what SetLocal has kept under key.
func (h *host) Local(key any) any { return h.locals[key] }

// SetLocal keeps a value with the host.
func (h *host) SetLocal(key, value any) {
	if h.locals == nil {
		h.locals = make(map[any]any)
	}
	h.locals[key] = value
}

// rounds is the host's state of finding out when there is nothing left to do.
type rounds struct {
	asked bool   // a round is under way
	seen  uint64 // host.events when it began
	idle  bool   // the hooks have been called, and nothing has happened since
}

// requestRound begins a round if jobs wait for engines.
func (h *host) requestRound() {
	if h.idle && h.events != h.seen {
		h.idle = false
	}
	if h.away == 0 || h.asked || h.idle || len(h.beforeSleep) == 0 && len(h.afterJobs) == 0 {
		return
	}
	h.asked = true
	h.seen = h.events
	if h.callback != nil {
		h.wake(true)
		return
	}
	// gnet executes what comes while it executes something before it looks at
	// the sockets again. By the time another goroutine has run it will have.
	go h.wake(true)
}

// roundEnded is called when gnet has looked at all sockets since the round
// began; quiet says that there was nothing.
func (h *host) roundEnded(quiet bool) {
	h.asked = false
	if quiet {
		h.idle, h.seen = true, h.events
		h.callHooks(h.beforeSleep)
	}
}
