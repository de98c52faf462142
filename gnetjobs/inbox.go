package gnetjobs

import (
	"context"
	"net"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// maxPosted is how many messages that are not about a connection may wait for
// a host.
const maxPosted = 1 << 16

// messageCost is what a message counts beside the bytes that it has.
const messageCost = 128

// inbox holds what other goroutines want a host to do, in their order. gnet
// has a queue of its own, which does not keep the order of calls of different
// kinds, and is unbounded.
type inbox struct {
	mu       sync.Mutex
	messages []message
	spare    []message // the array of those taken before
	posted   bool      // Run is going to be called
	why      reason    // what for, besides the messages
	late     bool      // wakeLater is to have a turn come
	later    bool      // and its goroutine runs
	open     bool      // there are connections
}

// reason is a set of what Run is called for. The timers need none.
type reason uint8

const (
	wakeRound reason = 1 << iota // a round ends
	wakeTurn                     // handshakes begin
)

// message is one of: a function to be called, a job to be resumed, a call of a
// connection's method.
type message struct {
	f  func()
	t  *task
	c  *conn
	do func(*conn, message) error // what to do with c; the callback gets its error

	buf      []byte
	bufs     [][]byte
	cost     int // of keeping it, in bytes; 0 if it is not to be refused
	callback gnet.AsyncCallback
}

// send queues m and has the host called. Messages about jobs are few, and never
// refused while there are connections; those about a connection are bounded by
// the bytes they take.
func (h *host) send(m message) error {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open && m.c != nil: // it has been closed; as with gnet, the callback is told
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

// post has gnet call Run. The mutex is held, so that it is not asked to when
// its loop may have ended.
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

// wake has Run called: the time of a timer has come, or there is a reason. It
// may be called from any goroutine.
func (h *host) wake(why reason) {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(h, why)
}

// wake is called with the mutex held.
func (b *inbox) wake(h *host, why reason) {
	if why&wakeTurn != 0 {
		b.late = false
	}
	if b.open {
		b.why |= why
		b.post(h)
	}
}

// wakeLater has Run called for a turn, by another goroutine. By the time that
// has run, gnet will have polled. If wake is first, nothing comes of it.
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

// take returns what has been queued, which is then to be given to done, and
// what Run has been called for.
func (b *inbox) take() (messages []message, why reason) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, why = b.messages, b.why
	b.messages, b.spare = b.spare, nil
	b.posted, b.why = false, 0
	return messages, why
}

// done keeps the array of messages that have been received.
func (b *inbox) done(messages []message) {
	clear(messages)
	if cap(messages) <= 1024 { // a burst's memory is not kept
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
		h.events++ // it may have been an engine's, for which jobs wait
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

// wakeNow resumes t's job, whose callback has been called: for nothing, if it
// has been called late.
func (h *host) wakeNow(t *task) {
	if t.conn == nil || t.job.WaitCtx() == nil {
		return
	}
	if t.wait.CallbackTaken() { // once more, from here on, it has to be taken
		t.wait.SetCallback(h.wakeCallback, t)
	}
	h.makeReady(t)
}

// The calls of a connection that any goroutine may make.

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

// AsyncWrite has the event loop write p, which must not be changed until
// callback, if it is not nil, has been called there. After an error it is not
// called.
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

// Wake has the event loop call OnTraffic, whether something has come or not.
// While the connection has a job, that waits until it has ended.
func (c *conn) Wake(callback gnet.AsyncCallback) error {
	return c.post(message{cost: messageCost, callback: callback, do: func(c *conn, _ message) error {
		c.woken = true
		if c.phase == phaseOpen {
			c.proceed()
		}
		return nil
	}})
}

// Close has the event loop close the connection. It is never refused.
func (c *conn) Close() error {
	if c.closeAsked.Swap(true) {
		return nil
	}
	return c.post(message{do: func(c *conn, _ message) error {
		c.shut(nil)
		return nil
	}})
}

// CloseWithCallback is Close, and calls callback on the event loop when it has
// been done.
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
