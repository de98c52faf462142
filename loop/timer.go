package loop

import (
	"container/heap"
	"time"

	"github.com/jobloop/jobloop/internal/monotonic"
)

// Times on a loop are nanoseconds since the process began, so all loops share one
// clock. 0 means no time. Timers are as coarse as the poller's wait: on NetBSD and
// OpenBSD a tick of the kernel's clock, which is 10 ms at the usual 100 Hz.

// timer is an entry in the loop's heap of timers. It is embedded in its owner.
type timer struct {
	when  int64
	index int // in the heap, plus 1; 0: not in the heap
	owner interface{ expire(now int64) }
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h) + 1
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	last := len(old) - 1
	t := old[last]
	old[last] = nil
	*h = old[:last]
	t.index = 0
	return t
}

// setTimer makes t expire at when.
func (l *Loop) setTimer(t *timer, when int64) {
	if t.index != 0 {
		t.when = when
		heap.Fix(&l.timers, t.index-1)
		return
	}
	t.when = when
	heap.Push(&l.timers, t)
}

func (l *Loop) stopTimer(t *timer) {
	if t.index != 0 {
		heap.Remove(&l.timers, t.index-1)
	}
}

// runTimers expires the timers that are due.
func (l *Loop) runTimers() {
	if len(l.timers) == 0 {
		return
	}
	l.now = l.clock()
	for len(l.timers) > 0 && l.timers[0].when <= l.now {
		t := heap.Pop(&l.timers).(*timer)
		t.owner.expire(l.now)
	}
}

func (l *Loop) clock() int64 { return int64(time.Since(l.epoch)) }

// at converts a time to the loop's clock.
func (l *Loop) at(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(monotonic.Since(l.epoch, t), 1)
}

// after returns the time on the loop's clock that is d from now.
func (l *Loop) after(d time.Duration) int64 {
	now := max(l.clock(), 1)
	if at := now + max(int64(d), 0); at > 0 {
		return at
	}
	return 1<<63 - 1
}

// Timer calls a function later, on the loop's goroutine. It is made by
// AfterFunc.
type Timer struct {
	l *Loop
	t timer
	f func()
}

// AfterFunc makes the loop call f on its goroutine, outside any job, after d. It
// may be called from any goroutine. On goroutines other than the loop's, d is
// counted from the loop's next turn.
func (l *Loop) AfterFunc(d time.Duration, f func()) *Timer {
	t := &Timer{l: l, f: f}
	t.t.owner = t
	t.Reset(d)
	return t
}

func (t *Timer) expire(int64) { t.l.call(t.f) }

// Stop keeps the function from being called, and reports whether the timer was
// still running. It may be called from any goroutine. On goroutines other
// than the loop's, Stop takes effect in the loop's next turn and returns false.
func (t *Timer) Stop() bool {
	if !t.l.onLoop() {
		t.l.send(message{call: func() { t.Stop() }})
		return false
	}
	pending := t.t.index != 0
	t.l.stopTimer(&t.t)
	return pending
}

// Reset makes the timer expire after d, and reports whether it was still running.
// It may be called from any goroutine. On goroutines other than the loop's, Reset
// takes effect in the loop's next turn, d is counted from then, and Reset returns
// false.
func (t *Timer) Reset(d time.Duration) bool {
	if !t.l.onLoop() {
		t.l.send(message{call: func() { t.Reset(d) }})
		return false
	}
	pending := t.t.index != 0
	t.l.setTimer(&t.t, t.l.after(d))
	return pending
}
