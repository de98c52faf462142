package loop

import (
	"slices"

	"github.com/jobloop/jobloop/jobs"
)

// What the loop offers to work that gathers requests of many jobs, such as a
// key engine: to be called when a share of them can be done, and to wake the
// jobs when it is. All of it is for the loop's goroutine.

// hooks are functions that the loop calls at one point of its turn.
type hooks []*func()

func (h *hooks) add(f func()) (remove func()) {
	*h = append(*h, &f)
	return func() {
		*h = slices.DeleteFunc(*h, func(g *func()) bool { return g == &f })
	}
}

// callAll calls the hooks, one of which may remove itself.
func (l *Loop) callAll(h *hooks) {
	for i := 0; i < len(*h); {
		f := (*h)[i]
		l.call(*f)
		if i < len(*h) && (*h)[i] == f {
			i++
		}
	}
}

// BeforeSleep makes the loop call f each time it has nothing left to do and
// would sleep: work that gathers requests does its gathered share there at the
// latest. If f makes a job ready, the loop does not sleep. The function it
// returns ends that. Both are for the loop's goroutine.
func (l *Loop) BeforeSleep(f func()) (stop func()) { return l.beforeSleep.add(f) }

// AfterJobs makes the loop call f in each turn, when the jobs that were ready
// have run: a full share of gathered requests is done there. The function it
// returns ends that. Both are for the loop's goroutine.
func (l *Loop) AfterJobs(f func()) (stop func()) { return l.afterJobs.add(f) }

// Ready is Wake for the loop's goroutine: it queues a paused job of this loop to
// be resumed, in the order of the calls. On other goroutines it is Wake.
func (l *Loop) Ready(j jobs.Job) {
	if !l.onLoop() {
		l.Wake(j)
		return
	}
	if t, ok := j.Value().(*task); ok && t.loop == l {
		t.wake()
	}
}

// Current returns the job that is running, the zero Job if none is. It is for
// the loop's goroutine.
func (l *Loop) Current() jobs.Job {
	if l.current == nil {
		return jobs.Job{}
	}
	return l.current.job
}

// Local returns the value that SetLocal has stored under key, nil if there is
// none. It is for the loop's goroutine.
func (l *Loop) Local(key any) any { return l.locals[key] }

// SetLocal stores a value with the loop, for packages that have a state of
// their own for each loop; key is of a type of theirs. It is for the loop's
// goroutine.
func (l *Loop) SetLocal(key, value any) {
	if l.locals == nil {
		l.locals = make(map[any]any)
	}
	l.locals[key] = value
}
