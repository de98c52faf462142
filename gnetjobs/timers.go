package gnetjobs

import (
	"container/heap"
	"time"
)

// timers holds a host's connections that wait for a time, the earliest first. They
// share one runtime timer.
type timers struct {
	heap  timerHeap
	timer *time.Timer
	armed int64 // when the runtime timer will fire; 0: it will not
}

// pollInterval is how often a paused job is resumed if nothing will signal that it
// can continue.
const pollInterval = int64(time.Millisecond)

// schedule makes the connection's timer expire at when or earlier, unless when is
// 0.
func (c *conn) schedule(when int64) {
	if when == 0 || c.timerIndex != 0 && c.when <= when {
		return
	}
	h := c.host
	c.when = when
	if c.timerIndex == 0 {
		heap.Push(&h.timers.heap, c)
	} else {
		heap.Fix(&h.timers.heap, int(c.timerIndex)-1)
	}
	h.arm(when)
}

func (c *conn) unschedule() {
	if c.timerIndex != 0 {
		heap.Remove(&c.host.timers.heap, int(c.timerIndex)-1)
	}
}

func (h *host) schedulePoll() {
	if h.pollAt == 0 {
		h.pollAt = h.now() + pollInterval
		h.arm(h.pollAt)
	}
}

// resumePolled resumes the jobs that have to be polled. If a job has ended
// meanwhile, its task may have another job, which is resumed spuriously.
func (h *host) resumePolled() {
	for i, t := range h.polled {
		t.polled = false
		h.makeReady(t)
		h.polled[i] = nil
	}
	h.polled, h.pollAt = h.polled[:0], 0
}

// arm makes the runtime timer fire at when or earlier.
func (h *host) arm(when int64) {
	t := &h.timers
	if t.armed != 0 && t.armed <= when {
		return
	}
	t.armed = when
	d := time.Duration(max(when-h.now(), 0))
	if t.timer == nil {
		t.timer = time.AfterFunc(d, func() { h.wake(0) })
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

// expire handles everything that is due.
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
		h.resumePolled()
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

// timeout holds the times for which a connection is among the timers. They are on
// the host's clock. 0 means none.
type timeout struct {
	handshake int64
	stall     int64  // by when the peer must have taken something, or have closed if it lingers
	taken     uint64 // bytes that the peer had taken when stall was set
	poll      int64  // when to check whether the peer has taken enough
	step      int64  // the time between two such checks
}

// gnet does not report when it has sent what it keeps. So the host checks that, at
// intervals that grow from minPollWrites to maxPollWrites.
const (
	minPollWrites = int64(200 * time.Microsecond)
	maxPollWrites = int64(10 * time.Millisecond)
)

// pollWrites starts checking until enough has been sent: for the job or the handler
// to continue, or for the connection to be closed.
func (c *conn) pollWrites() {
	t := &c.timeout
	if t.poll == 0 {
		t.step = minPollWrites
		t.poll = c.host.now() + t.step
		c.schedule(t.poll)
	}
}

// watchWrites starts checking whether the peer takes what is sent.
func (c *conn) watchWrites() {
	d := c.host.handler.opts.WriteTimeout
	if d == 0 || c.timeout.stall != 0 || c.phase >= phaseEnding {
		return
	}
	if n := c.raw.OutboundBuffered(); n > 0 {
		c.timeout.taken = c.written - uint64(n)
		c.timeout.stall = c.host.now() + int64(d)
		c.schedule(c.timeout.stall)
	}
}

// expire handles what is due for the connection.
func (c *conn) expire(now int64) {
	t := &c.timeout
	if c.phase == phaseLingering { // only stall is set then
		c.closeRaw()
		return
	}
	if t.handshake != 0 && t.handshake <= now {
		t.handshake = 0
		c.fail(ErrHandshakeTimeout)
	}
	out := c.raw.OutboundBuffered()
	if t.poll != 0 && t.poll <= now {
		c.checkSent(now, out)
	}
	if t.stall != 0 && t.stall <= now {
		taken := c.written - uint64(out)
		switch {
		case out == 0:
			t.stall = 0
		case taken == t.taken:
			t.stall = 0
			c.fail(ErrWriteTimeout)
		default:
			t.taken, t.stall = taken, now+int64(c.host.handler.opts.WriteTimeout)
		}
	}
	c.schedule(t.handshake)
	c.schedule(t.poll)
	c.schedule(t.stall)
	if j := c.task; j != nil && j.limit != 0 {
		if j.limit <= now {
			c.host.makeReady(j)
		} else {
			c.schedule(j.limit)
		}
	}
}

// checkSent checks whether enough has been sent. out is how much is left.
func (c *conn) checkSent(now int64, out int) {
	t := &c.timeout
	t.poll = 0
	var enough int
	switch {
	case c.phase == phaseClosing:
	case c.wantsToWrite():
		enough = c.host.lowWater()
	case c.held:
		enough = c.host.holdWater() / 2
	default:
		return
	}
	switch {
	case out > enough:
		t.step = min(2*t.step, maxPollWrites)
		t.poll = now + t.step
	case c.phase != phaseClosing && c.wantsToWrite():
		c.host.makeReady(c.task)
	default:
		c.host.look(c)
	}
}

func (c *conn) wantsToWrite() bool { return c.task != nil && c.task.want == wantWrite }

// timerHeap is a container/heap of connections. timerIndex is an index plus 1.
type timerHeap []*conn

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].when < h[j].when }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timerIndex, h[j].timerIndex = int32(i+1), int32(j+1)
}

func (h *timerHeap) Push(x any) {
	c := x.(*conn)
	*h = append(*h, c)
	c.timerIndex = int32(len(*h))
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.timerIndex = 0
	return c
}
