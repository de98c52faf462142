package gnetjobs

import (
	"slices"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/jobs"
)

// What a host is to key engines.

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
