package loop

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// watchdog reports jobs that keep the thread. Because the loop's thread may be
// stuck, it runs on a timer's goroutine. It rests while the loop sleeps.
type watchdog struct {
	after    time.Duration // Config.BlockedAfter; negative: off
	period   time.Duration // between two checks
	progress atomic.Uint64 // changes whenever the thread goes to something else
	armed    atomic.Bool   // a check is scheduled
	over     atomic.Bool   // the loop has ended
	blocked  atomic.Uint64 // times a blocking job was found
	timer    *time.Timer
	run      string // the name of Run's goroutine in stack traces

	// Used by look, which runs one at a time.
	seen  uint64    // progress at the last check
	since time.Time // when progress last changed
	told  bool      // the lack of progress has been reported
}

// beginWatch starts the watchdog, on Run's goroutine.
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
	d.timer.Reset(d.period) // only now, because look uses d.timer
	return func() { d.over.Store(true); d.timer.Stop() }
}

// step records that the thread goes to something else.
func (l *Loop) step() {
	l.steps++
	l.dog.progress.Store(l.steps)
}

// wakeDog makes sure that the watchdog is active while the loop works.
func (l *Loop) wakeDog() {
	if d := &l.dog; d.timer != nil && !d.armed.Load() {
		d.armed.Store(true)
		d.timer.Reset(d.period)
	}
}

// look checks on the loop. The timer calls it.
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
			return // wakeDog will start it again
		}
		d.armed.Store(true)
	} else if took := now.Sub(d.since); took >= d.after && !d.told {
		d.told = true
		d.blocked.Add(1)
		l.log(slog.LevelWarn, "a job keeps the thread, and all other jobs have to wait",
			slog.Duration("for", took.Round(time.Millisecond)), slog.String("stack", d.stack()))
	}
	d.timer.Reset(d.period)
}

// maxStacks bounds the dump of all stacks that is searched, in bytes.
const maxStacks = 64 << 20

// stack returns the stack of what runs on the loop's thread: Run's goroutine, or
// the coroutine to which it has passed control.
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
		if bytes.Contains(head, []byte("[coroutine")) { // it waits for control to come back
			continue
		}
		if bytes.HasPrefix(s, isRun) || bytes.Contains(s, byRun) && bytes.Contains(s, []byte("jobs.(*coroutine).run(")) {
			return string(s)
		}
	}
	return "not found"
}
