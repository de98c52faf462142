package gnetjobs

import (
	"context"
	"net"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// maxMessages is how many calls from other goroutines may wait for a host.
const maxMessages = 1 << 16

// inbox holds what other goroutines want a host to do, in their order. gnet
// has a queue of its own, which does not keep the order of calls of different
// kinds, and is unbounded.
type inbox struct {
	mu       sync.Mutex
	messages []message
	spare    []message // the array of those taken before
	posted   bool      // Run is going to be called
	round    bool      // and the next one ends a round
	open     bool      // there are connections
}

// message is one of: a function to be called, a job to be resumed, a call of a
// connection's method.
type message struct {
	f  func()
	t  *task
	c  *conn
	do func(*conn, message) error // what to do with c; the callback gets its error

	buf      []byte
	bufs     [][]byte
	size     int // of what is to be written
	callback gnet.AsyncCallback
}

// send queues m and has the host called. A message about a job is one of few,
// and is never refused while there are connections.
func (h *host) send(m message) error {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open && m.c != nil: // it has been closed; as with gnet, the callback is told
		m.size = 0
		return h.loop.Execute(h.ctx, gnet.RunnableFunc(func(context.Context) error { h.receive(m); return nil }))
	case !b.open:
		return net.ErrClosed
	case len(b.messages) >= maxMessages && m.t == nil:
		return ErrQueueFull
	}
	if c := m.c; c != nil && m.size > 0 {
		if limit := h.handler.opts.MaxOutbound; limit > 0 && c.queued > limit {
			return ErrQueueFull
		}
		c.queued += m.size
	}
	b.messages = append(b.messages, m)
	if err := b.post(h); err != nil {
		b.messages = b.messages[:len(b.messages)-1]
		if m.c != nil {
			m.c.queued -= m.size
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

// wake has Run called: the time of a timer has come, or a round is wanted. It
// may be called from any goroutine.
func (h *host) wake(round bool) {
	b := &h.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		b.round = b.round || round
		b.post(h)
	}
}

// take returns what has been queued, which is then to be given to done, and
// whether a round has ended.
func (b *inbox) take() (messages []message, round bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, round = b.messages, b.round
	b.messages, b.spare = b.spare, nil
	b.posted, b.round = false, false
	return messages, round
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
	if m.size > 0 {
		c.host.inbox.mu.Lock()
		c.queued -= m.size
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
	return c.send(message{buf: p, size: len(p), callback: callback, do: func(c *conn, m message) error {
		_, err := c.Write(m.buf)
		return err
	}})
}

// AsyncWritev is AsyncWrite for several slices.
func (c *conn) AsyncWritev(bs [][]byte, callback gnet.AsyncCallback) error {
	size := 0
	for _, b := range bs {
		size += len(b)
	}
	return c.send(message{bufs: bs, size: size, callback: callback, do: func(c *conn, m message) error {
		_, err := c.Writev(m.bufs)
		return err
	}})
}

// Wake has the event loop call OnTraffic, whether something has come or not.
// While the connection has a job, that waits until it has ended.
func (c *conn) Wake(callback gnet.AsyncCallback) error {
	return c.send(message{callback: callback, do: func(c *conn, _ message) error {
		c.woken = true
		if c.phase == phaseOpen {
			c.proceed()
		}
		return nil
	}})
}

// Close has the event loop close the connection.
func (c *conn) Close() error { return c.CloseWithCallback(nil) }

// CloseWithCallback is Close, and calls callback on the event loop when it has
// been done.
func (c *conn) CloseWithCallback(callback gnet.AsyncCallback) error {
	return c.send(message{do: func(c *conn, _ message) error {
		switch {
		case callback == nil:
		case c.finished:
			callback(c, nil)
		default:
			c.onClosed = append(c.onClosed, callback)
		}
		c.shut(nil)
		return nil
	}})
}

func (c *conn) send(m message) error {
	m.c = c
	return c.host.send(m)
}
