package gnetjobs

import (
	"context"
	"net"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// maxPosted is how many messages may be waiting when a function is posted to a
// host.
const maxPosted = 1 << 16

// messageCost is the cost of a message in addition to its bytes.
const messageCost = 128

// inbox holds, in order, what other goroutines want a host to do. gnet's own queue
// is not used for this: it does not keep the order of calls of different kinds, and
// it is unbounded.
type inbox struct {
	mu       sync.Mutex
	messages []message
	spare    []message // the array of the messages taken before, for reuse
	posted   bool      // gnet has been asked to call Run
	why      reason    // what Run is called for, besides the messages
	late     bool      // wakeLater still has to wake the host for a turn
	later    bool      // wakeLater's goroutine is running
	open     bool      // there are connections
}

// reason is a set of reasons for calling Run. The timers need none.
type reason uint8

const (
	wakeRound reason = 1 << iota // a round ends
	wakeTurn                     // handshakes begin
)

// message is one of: a function to call, a job to resume, or a call of a
// connection's method.
type message struct {
	f  func()
	t  *task
	c  *conn
	do func(*conn, message) error // the method; the callback gets its error

	buf      []byte
	bufs     [][]byte
	cost     int // of keeping it, in bytes; 0 if it must not be refused
	callback gnet.AsyncCallback
}

// send queues m and wakes the host. Messages about jobs are few, and are never
// refused while there are connections. Messages of a connection are limited by the
// bytes they take.
func (h *host) send(m message) error {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open && m.c != nil: // it has been closed; the callback is called even so, as in gnet
		m.cost = 0
		return h.loop.Execute(h.ctx, gnet.RunnableFunc(func(context.Context) error { h.receive(m); return nil }))
	case !b.open:
		return net.ErrClosed
	case m.f != nil && len(b.messages) >= maxPosted:
		return ErrQueueFull
	}
	if c := m.c; c != nil {
		if limit := h.handler.opts.MaxOutbound; limit > 0 && m.cost > 0 && c.queued > limit {
			return ErrQueueFull
		}
		c.queued += m.cost
	}
	b.messages = append(b.messages, m)
	if err := b.post(h); err != nil {
		b.messages = b.messages[:len(b.messages)-1]
		if m.c != nil {
			m.c.queued -= m.cost
		}
		return err
	}
	return nil
}

// post asks gnet to call Run. It must be called with the mutex held, so that gnet is
// not asked when its loop may have ended.
func (b *inbox) post(h *host) error {
	if b.posted {
		return nil
	}
	b.posted = true
	if err := h.loop.Execute(context.Background(), h); err != nil {
		b.posted = false
		return err
	}
	return nil
}

// wake makes gnet call Run, because a timer is due or for the reason why. It may be
// called from any goroutine.
func (h *host) wake(why reason) {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(h, why)
}

// wake is host.wake with the mutex already held.
func (b *inbox) wake(h *host, why reason) {
	if why&wakeTurn != 0 {
		b.late = false
	}
	if b.open {
		b.why |= why
		b.post(h)
	}
}

// wakeLater makes gnet call Run for a turn, from another goroutine. By the time
// that goroutine runs, gnet will have polled. If wake is called for a turn before
// that, the goroutine does nothing.
func (h *host) wakeLater() {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = true
	if b.later {
		return
	}
	b.later = true
	go func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.later = false
		if b.late {
			b.wake(h, wakeTurn)
		}
	}()
}

// take returns the queued messages, and what Run has been called for. The messages
// must be passed to done afterwards.
func (b *inbox) take() (messages []message, why reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, why = b.messages, b.why
	b.messages, b.spare = b.spare, nil
	b.posted, b.why = false, 0
	return messages, why
}

// done keeps the array of processed messages for reuse.
func (b *inbox) done(messages []message) {
	clear(messages)
	if cap(messages) <= 1024 { // the memory of a burst is not kept
		b.mu.Lock()
		b.spare = messages[:0]
		b.mu.Unlock()
	}
}

func (b *inbox) setOpen(open bool) {
	b.mu.Lock()
	b.open = open
	b.mu.Unlock()
}

// receive does what m asks for.
func (h *host) receive(m message) {
	switch {
	case m.f != nil:
		h.events++ // it may come from an engine that jobs wait for
		h.guard(m.f)
	case m.t != nil:
		h.wakeNow(m.t)
	default:
		m.c.receive(m)
	}
}

// wakeTask is the callback in the wait contexts of jobs. It may be called from
// any goroutine; arg is the *task.
func (h *host) wakeTask(arg any) error { return h.send(message{t: arg.(*task)}) }

// wakeNow resumes t's job, whose callback has been called. If the call came late,
// the resume is spurious.
func (h *host) wakeNow(t *task) {
	if t.conn == nil || t.job.WaitCtx() == nil {
		return
	}
	if t.wait.CallbackTaken() { // reset, so that the job has to take it again
		t.wait.SetCallback(h.wakeCallback, t)
	}
	h.makeReady(t)
}

// The methods of a connection that any goroutine may call.

func (c *conn) receive(m message) {
	if m.cost > 0 {
		c.host.inbox.mu.Lock()
		c.queued -= m.cost
		c.host.inbox.mu.Unlock()
	}
	err := m.do(c, m)
	if m.callback != nil {
		m.callback(c, err)
	}
}

// AsyncWrite makes the event loop write p and then call callback, if that is not
// nil. p must not be changed until callback has been called. If AsyncWrite returns
// an error, callback is not called.
func (c *conn) AsyncWrite(p []byte, callback gnet.AsyncCallback) error {
	return c.post(message{buf: p, cost: messageCost + len(p), callback: callback, do: func(c *conn, m message) error {
		_, err := c.Write(m.buf)
		return err
	}})
}

// AsyncWritev is AsyncWrite for several slices.
func (c *conn) AsyncWritev(bs [][]byte, callback gnet.AsyncCallback) error {
	cost := messageCost
	for _, b := range bs {
		cost += len(b)
	}
	return c.post(message{bufs: bs, cost: cost, callback: callback, do: func(c *conn, m message) error {
		_, err := c.Writev(m.bufs)
		return err
	}})
}

// Wake makes the event loop call OnTraffic even if nothing has arrived. If the
// connection has a job, that happens after the job has ended.
func (c *conn) Wake(callback gnet.AsyncCallback) error {
	return c.post(message{cost: messageCost, callback: callback, do: func(c *conn, _ message) error {
		c.woken = true
		if c.phase == phaseOpen {
			c.proceed()
		}
		return nil
	}})
}

// Close makes the event loop close the connection. A full queue does not prevent
// it.
func (c *conn) Close() error {
	if c.closeAsked.Swap(true) {
		return nil
	}
	return c.post(message{do: func(c *conn, _ message) error {
		c.shut(nil)
		return nil
	}})
}

// CloseWithCallback is like Close, and calls callback on the event loop when the
// connection has been closed.
func (c *conn) CloseWithCallback(callback gnet.AsyncCallback) error {
	if callback == nil {
		return c.Close()
	}
	return c.post(message{cost: messageCost, do: func(c *conn, _ message) error {
		if c.finished {
			return callback(c, nil)
		}
		if first := c.onClosed; first != nil {
			second := callback
			callback = func(c gnet.Conn, err error) error {
				first(c, err)
				return second(c, err)
			}
		}
		c.onClosed = callback
		c.shut(nil)
		return nil
	}})
}

func (c *conn) post(m message) error {
	m.c = c
	return c.host.send(m)
}
