package loop

import (
	"context"
	"log/slog"
	"slices"

	"github.com/jobloop/jobloop/internal/goroutine"
	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/jobs"
)

// stop asks the loop to stop, from any goroutine.
func (l *Loop) stop(level int32) {
	for {
		old := l.stopping.Load()
		if old >= level {
			return
		}
		if l.stopping.CompareAndSwap(old, level) {
			break
		}
	}
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if l.in.closed {
		return
	}
	if err := l.wakeIfAsleep(); err != nil {
		l.log(slog.LevelError, "cannot wake the loop", slog.Any("error", err))
	}
}

// Close ends the loop: listeners and connections are closed, and jobs are
// cancelled. It may be called from any goroutine and does not wait; Run returns
// when everything is done. It always returns nil. A second call does nothing.
func (l *Loop) Close() error {
	l.stop(stopNow)
	l.mu.Lock()
	idle := !l.running && !l.ended
	if idle {
		l.ended = true
	}
	l.mu.Unlock()
	if idle { // Run is not there to do it
		l.release()
		close(l.done)
	}
	return nil
}

// Shutdown ends the loop gracefully. The loop
//
//   - accepts the clients that have connected already, then closes its listeners,
//   - lets jobs run until they end,
//   - wakes parked connections, whose reads return ErrShutdown, so that they can
//     say goodbye,
//   - and sends what has been written.
//
// Clients that have not sent a request yet, after connecting or after their
// handshake, have half a second to do so.
//
// Shutdown returns nil when the loop has ended and its log is written (see
// Config.Logger). If ctx ends first, the rest is cancelled as by Close, and Shutdown
// returns ctx's error at once. Run returns when everything is done; a job that does
// not give back the thread delays it.
//
// Shutdown may be called from any goroutine except the loop's own, where it would
// wait for itself. In a job, or in a function that the loop calls, it returns
// ErrOnLoop.
func (l *Loop) Shutdown(ctx context.Context) error {
	if l.onLoop() {
		return ErrOnLoop
	}
	err := l.shutdown(ctx)
	if err == nil {
		l.logs.Queue().Flush(ctx, logqueue.Patience)
	}
	return err
}

// shutdown is Shutdown without waiting for the log.
func (l *Loop) shutdown(ctx context.Context) error {
	l.mu.Lock()
	started := l.running
	l.mu.Unlock()
	if !started {
		l.Close() // also right if Run has been called meanwhile
	} else {
		l.stop(stopDrain)
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		l.Close()
		return ctx.Err()
	}
}

// onLoop reports whether the caller is on the loop's goroutine, or inside a job
// of the loop. It may be called from any goroutine. The method here is cheaper.
func (l *Loop) onLoop() bool {
	if g := l.goroutine.Load(); g != 0 && g == goroutine.ID() {
		return true
	}
	j, ok := jobs.Current()
	if !ok {
		return false
	}
	t, ok := j.Value().(*task)
	return ok && t.loop == l
}

// ShuttingDown reports whether Shutdown or Close has been called. It may be
// called from any goroutine. A handler that serves many requests on one connection
// should check it between requests.
func (l *Loop) ShuttingDown() bool { return l.stopping.Load() != stopNot }

// drain begins a shutdown, on the loop's goroutine.
func (l *Loop) drain() {
	if l.draining {
		return
	}
	l.draining = true
	l.takeMessages() // listeners that were being added
	for _, n := range slices.Clone(l.listeners) {
		n.lastCall()
	}
	for fd := range l.slots {
		c := l.slots[fd].conn
		switch {
		case c == nil:
		case c.rests && !c.heard:
			c.hurry()
		case c.rests:
			c.endWait()
		case c.state.Load() >= connFlushing:
			c.closeAfter(l.cfg.LingerTimeout)
		}
	}
}

// endWait ends the wait of a parked connection because the loop shuts down.
func (c *Conn) endWait() {
	if c.tls != nil && !c.tls.shaken() {
		c.notServed()
		return
	}
	c.unpark(ErrShutdown)
}

// teardown ends all jobs and closes everything.
func (l *Loop) teardown() {
	l.stopping.Store(stopNow) // not set yet if the poller has failed
	l.draining, l.ending = true, true
	l.in.mu.Lock()
	l.in.closed = true
	l.in.mu.Unlock()
	l.closeListeners()
	for _, q := range l.unstarted() {
		for q.n > 0 {
			t := q.pop()
			c := t.conn
			if t.counted {
				t.counted = false
				l.in.release()
			}
			l.freeTask(t)
			if c != nil {
				c.task = nil
				c.closeNow()
			}
		}
	}
	for _, q := range l.paused() {
		for q.n > 0 {
			q.pop().queued = false
		}
	}
	// Cancelling a job ends it and takes it off the list. The job cannot start
	// another.
	for len(l.tasks) > 0 {
		t := l.tasks[len(l.tasks)-1]
		t.cancel = true
		l.resume(t)
	}
	for fd := range l.slots {
		if c := l.slots[fd].conn; c != nil {
			c.closeNow()
		}
	}
	if err := l.pool.Close(); err != nil { // a bug: a job without a task
		l.log(slog.LevelError, "cannot close the job pool", slog.Any("error", err))
	}
	l.publish()
}

// end marks the loop as ended.
func (l *Loop) end() {
	l.goroutine.Store(0)
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.release()
	close(l.done)
}

// release frees what New has allocated, and what is left in the inbox.
func (l *Loop) release() {
	l.in.mu.Lock()
	l.in.closed = true
	msgs := l.in.msgs
	l.in.msgs = nil
	l.in.mu.Unlock()
	for i := range msgs {
		switch m := &msgs[i]; {
		case m.deal != nil:
			m.deal.drop(l)
		case m.listen != nil:
			m.listen.release()
		}
	}
	l.spareDescriptors(false)
	if err := l.poller.close(); err != nil {
		l.log(slog.LevelError, "cannot close the poller", slog.Any("error", err))
	}
}
