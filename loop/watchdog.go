package loop

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// watchdog tells of jobs that keep the thread. It looks from a timer's
// goroutine, since the loop's thread is what may be stuck, and rests while the
// loop sleeps.
type watchdog struct {
	after    time.Duration // Config.BlockedAfter; not positive: there is no watch
	period   time.Duration // between two looks
	progress atomic.Uint64 // changes whenever the thread goes to something else
	armed    atomic.Bool   // a look is to come
	over     atomic.Bool   // the loop has ended
	blocked  atomic.Uint64 // times that a job has been found
	timer    *time.Timer
	run      string // how stacks call Run's goroutine

	// Of the looks, of which there is one at a time.
	seen  uint64 // progress at the last one
	since time.Time
	told  bool // about it
}

// beginWatch begins the watch, on Run's goroutine.
func (l *Loop) beginWatch() (end func()) {
	d := &l.dog
	if d.after = l.cfg.BlockedAfter; d.after < 0 {
		return func() {}
	}
	var b [64]byte
	head := b[:runtime.Stack(b[:], false)] // goroutine 7 [running]:
	d.run, _, _ = strings.Cut(string(head), " [")
	d.armed.Store(true)
	d.period = max(d.after/2, time.Millisecond)
	d.timer = time.AfterFunc(time.Hour, l.look)
	d.timer.Reset(d.period) // not before look can find it
	return func() { d.over.Store(true); d.timer.Stop() }
}

// step says that the thread goes to something else.
func (l *Loop) step() {
	l.steps++
	l.dog.progress.Store(l.steps)
}

// wakeDog makes sure that there is a watch while the loop works.
func (l *Loop) wakeDog() {
	if d := &l.dog; d.timer != nil && !d.armed.Load() {
		d.armed.Store(true)
		d.timer.Reset(d.period)
	}
}

// look is called when it is time to look at the loop.
func (l *Loop) look() {
	d := &l.dog
	if d.over.Load() {
		return
	}
	n, now := d.progress.Load(), time.Now()
	if n != d.seen || d.since.IsZero() {
		d.seen, d.since, d.told = n, now, false
	} else if l.in.sleeping.Load() {
		d.since = time.Time{}
		d.armed.Store(false)
		if d.progress.Load() == n {
			return // until wakeDog
		}
		d.armed.Store(true)
	} else if took := now.Sub(d.since); took >= d.after && !d.told {
		d.told = true
		d.blocked.Add(1)
		l.log(slog.LevelWarn, "a job keeps the thread, and all other jobs wait",
			slog.Duration("for", took.Round(time.Millisecond)), slog.String("stack", d.stack()))
	}
	d.timer.Reset(d.period)
}

// maxStacks bounds what is looked through for a stack.
const maxStacks = 64 << 20

// stack returns the stack of what has the thread: Run's goroutine, or the
// coroutine to which it has passed control.
func (d *watchdog) stack() string {
	var b []byte
	for size := 1 << 20; size <= maxStacks; size *= 2 {
		b = make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			b = b[:n]
			break
		}
	}
	isRun := []byte(d.run + " [")
	byRun := []byte(" in " + d.run + "\n") // the last line of a goroutine's stack
	for s := range bytes.SplitSeq(append(b, '\n'), []byte("\n\n")) {
		head, _, _ := bytes.Cut(s, []byte("\n"))
		if bytes.Contains(head, []byte("[coroutine")) { // it has passed control on, or is to get it
			continue
		}
		if bytes.HasPrefix(s, isRun) || bytes.Contains(s, byRun) && bytes.Contains(s, []byte("jobs.(*coroutine).run(")) {
			return string(s)
		}
	}
	return "not found"
}
