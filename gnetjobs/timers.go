package gnetjobs

import (
	"container/heap"
	"time"
)

// timers are a host's connections that something is due for, the earliest
// first. They share one timer of the runtime's.
type timers struct {
	heap  timerHeap
	timer *time.Timer
	armed int64 // when it will fire; 0: it will not
}

// pollInterval is how often a job is resumed that has paused for something
// which nobody will tell, or whose descriptors gnet's poller does not know.
const pollInterval = int64(time.Millisecond)

// schedule makes expire look at the connection at the time when, if that is
// not 0, or earlier.
func (c *conn) schedule(when int64) {
	if when == 0 || c.timerIndex != 0 && c.when <= when {
		return
	}
	h := c.host
	c.when = when
	if c.timerIndex == 0 {
		heap.Push(&h.timers.heap, c)
	} else {
		heap.Fix(&h.timers.heap, c.timerIndex-1)
	}
	h.arm(when)
}

func (c *conn) unschedule() {
	if c.timerIndex != 0 {
		heap.Remove(&c.host.timers.heap, c.timerIndex-1)
	}
}

func (h *host) schedulePoll() {
	if h.pollAt == 0 {
		h.pollAt = h.now() + pollInterval
		h.arm(h.pollAt)
	}
}

// arm makes the runtime's timer fire at the time when or earlier.
func (h *host) arm(when int64) {
	t := &h.timers
	if t.armed != 0 && t.armed <= when {
		return
	}
	t.armed = when
	d := time.Duration(max(when-h.now(), 0))
	if t.timer == nil {
		t.timer = time.AfterFunc(d, func() { h.wake(false) })
	} else {
		t.timer.Reset(d)
	}
}

func (t *timers) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.armed = 0
}

// expire does what is due.
func (h *host) expire() {
	t := &h.timers
	if t.armed == 0 {
		return
	}
	now := h.now()
	if now < t.armed {
		return
	}
	t.armed = 0
	if h.pollAt != 0 && h.pollAt <= now {
		h.pollAt = 0
		for i, t := range h.polled {
			t.polled = false
			h.makeReady(t) // for nothing, if it has another job by now
			h.polled[i] = nil
		}
		h.polled = h.polled[:0]
	}
	for len(t.heap) > 0 && t.heap[0].when <= now {
		c := heap.Pop(&t.heap).(*conn)
		c.expire(now)
	}
	if len(t.heap) > 0 {
		h.arm(t.heap[0].when)
	}
	if h.pollAt != 0 {
		h.arm(h.pollAt)
	}
}

// timerHeap is a container/heap of connections. timerIndex is an index plus 1.
type timerHeap []*conn

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timerIndex, h[j].timerIndex = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	c := x.(*conn)
	*h = append(*h, c)
	c.timerIndex = len(*h)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.timerIndex = 0
	return c
}
