package loop

import (
	"slices"

	"github.com/jobloop/jobloop/jobs"
)

// What the loop offers to code that gathers requests of many jobs, such as a key
// engine. Such code is called when it may process what it has gathered, and wakes
// the jobs when it is done. All of this is for the loop's goroutine.

// hooks are functions that the loop calls at one point of its turn.
type hooks []*func()

func (h *hooks) add(f func()) (remove func()) {
	*h = append(*h, &f)
	return func() {
		*h = slices.DeleteFunc(*h, func(g *func()) bool { return g == &f })
	}
}

// callAll calls the hooks. A hook may remove itself.
func (l *Loop) callAll(h *hooks) {
	for i := 0; i < len(*h); {
		f := (*h)[i]
		l.call(*f)
		if i < len(*h) && (*h)[i] == f {
			i++
		}
	}
}

// BeforeSleep makes the loop call f each time it has nothing left to do and is
// about to sleep. Code that gathers requests should process them here at the
// latest. If f makes a job ready, the loop does not sleep. stop ends the calls.
// BeforeSleep and stop are for the loop's goroutine.
func (l *Loop) BeforeSleep(f func()) (stop func()) { return l.beforeSleep.add(f) }

// AfterJobs makes the loop call f in each turn, after the jobs that were ready
// have run. Code that gathers requests can process a full batch here. stop ends
// the calls. AfterJobs and stop are for the loop's goroutine.
func (l *Loop) AfterJobs(f func()) (stop func()) { return l.afterJobs.add(f) }

// Ready is Wake for the loop's goroutine. It queues a paused job of this loop to
// be resumed; jobs are resumed in the order of the calls. On other goroutines it
// does what Wake does.
func (l *Loop) Ready(j jobs.Job) {
	if !l.onLoop() {
		l.Wake(j)
		return
	}
	if t, ok := j.Value().(*task); ok && t.loop == l {
		t.wake()
	}
}

// Current returns the running job, or the zero Job if none is running. It is for
// the loop's goroutine.
func (l *Loop) Current() jobs.Job {
	if l.current == nil {
		return jobs.Job{}
	}
	return l.current.job
}

// Local returns the value that SetLocal stored under key, or nil if there is
// none. It is for the loop's goroutine.
func (l *Loop) Local(key any) any { return l.locals[key] }

// SetLocal stores a value in the loop. Packages use it to keep their own state
// for each loop. key should be of a type defined by the package, as with
// context.WithValue. It is for the loop's goroutine.
func (l *Loop) SetLocal(key, value any) {
	if l.locals == nil {
		l.locals = make(map[any]any)
	}
	l.locals[key] = value
}
