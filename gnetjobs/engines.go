package gnetjobs

import (
	"slices"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/jobs"
)

// The methods of a host that key engines use.

var _ engine.Host = (*host)(nil)

// hooks holds what key engines have registered with a host.
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

// callHooks calls the hooks in l. Adding or removing a hook meanwhile only takes
// effect the next time.
func (h *host) callHooks(l hookList) {
	for _, f := range l {
		h.guard(*f)
	}
}

// BeforeSleep makes the host call f each time nothing is left to do while jobs wait
// for engines.
func (h *host) BeforeSleep(f func()) (stop func()) { return h.beforeSleep.add(f) }

// AfterJobs makes the host call f each time it has run the jobs that were ready.
func (h *host) AfterJobs(f func()) (stop func()) { return h.afterJobs.add(f) }

// Ready queues a paused job to be resumed.
func (h *host) Ready(j jobs.Job) {
	if t, ok := j.Value().(*task); ok && t.host == h {
		h.makeReady(t)
	}
}

// Post makes the event loop call f. It may be called from any goroutine.
func (h *host) Post(f func()) error { return h.send(message{f: f}) }

// Local returns the value that SetLocal stored under key, or nil.
func (h *host) Local(key any) any { return h.locals[key] }

// SetLocal stores a value in the host.
func (h *host) SetLocal(key, value any) {
	if h.locals == nil {
		h.locals = make(map[any]any)
	}
	h.locals[key] = value
}
