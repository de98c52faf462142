//go:build linux

package process

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Usage is what a process has used up to a moment.
type Usage struct {
	When              time.Time
	CPU, User, System time.Duration
	Core              time.Duration // for how long the process's core was busy, with whatever process
	RSS, Switches     int64
}

// TakeUsage looks at a process. A negative core means that it has none to itself.
func TakeUsage(pid, core int) (u Usage, _ error) {
	var errs [5]error
	u.Core, errs[0] = coreTime(core)
	u.RSS, errs[1] = RSS(pid)
	u.Switches, errs[2] = contextSwitches(pid)
	u.User, u.System, errs[3] = userAndSystem(pid)
	u.When = time.Now()
	u.CPU, errs[4] = CPUTime(pid)
	return u, cmp.Or(errs[:]...)
}

// Watcher looks at a process every now and then. Only a client knows when the
// measured part of its load begins and ends, and it says so afterwards. The
// samples around these moments tell what the process had used by then.
type Watcher struct {
	PID, Core int // as for TakeUsage
	samples   []Usage
}

const watchStep = 100 * time.Millisecond

// Run samples until ctx is done, and once more then.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		done := Sleep(ctx, watchStep) != nil
		if err := w.Sample(); err != nil || done {
			return err
		}
	}
}

// Sample takes one sample.
func (w *Watcher) Sample() error {
	u, err := TakeUsage(w.PID, w.Core)
	w.samples = append(w.samples, u)
	return err
}

// At returns what the process had used at a moment, interpolated linearly between
// the samples before and after. If there is none before or none after, that is an
// error.
func (w *Watcher) At(t time.Time) (Usage, error) {
	i, _ := slices.BinarySearchFunc(w.samples, t, func(u Usage, t time.Time) int { return u.When.Compare(t) })
	if i == 0 || i == len(w.samples) {
		return Usage{}, fmt.Errorf("the load says that it measured at %v, which is not between %v and %v, when the server was watched",
			t, w.samples[0].When, w.samples[len(w.samples)-1].When)
	}
	a, b := w.samples[i-1], w.samples[i]
	f := float64(t.Sub(a.When)) / float64(b.When.Sub(a.When))
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(f*float64(b-a)) }
	return Usage{
		When:     t,
		CPU:      between(a.CPU, b.CPU),
		User:     between(a.User, b.User),
		System:   between(a.System, b.System),
		Core:     between(a.Core, b.Core),
		Switches: a.Switches + int64(f*float64(b.Switches-a.Switches)),
		RSS:      b.RSS,
	}, nil
}
