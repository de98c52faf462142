package loop

import (
	"context"
	"log/slog"
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
// cancelled. It may be called from any goroutine and does not wait: Run
// returns when all is done. It always returns nil, and a second call does
// nothing.
func (l *Loop) Close() error {
	l.stop(stopNow)
	l.mu.Lock()
	idle := !l.running && !l.ended
	if idle {
		l.ended = true
	}
	l.mu.Unlock()
	if idle { // there is no Run to do it
		l.release()
		close(l.done)
	}
	return nil
}

// Shutdown ends the loop gently: it closes the listeners, lets the jobs go on
// until they end, and wakes the parked connections so that they can say
// goodbye (their reads end with ErrShutdown). If ctx is done first, the rest is
// cancelled as by Close, and ctx's error returned. It returns when the loop
// has ended, and must not be called from the loop's goroutine.
func (l *Loop) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	started := l.running
	l.mu.Unlock()
	if !started {
		l.Close()
		<-l.done // Run may have been called meanwhile
		return nil
	}
	l.stop(stopDrain)
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		l.Close()
		<-l.done
		return ctx.Err()
	}
}

// ShuttingDown reports whether Shutdown or Close has been called. It may be
// called from any goroutine; a handler that serves many requests on one
// connection asks it between two.
func (l *Loop) ShuttingDown() bool { return l.stopping.Load() != stopNot }

// drain is the beginning of Shutdown, on the loop's goroutine.
func (l *Loop) drain() {
	if l.draining {
		return
	}
	l.draining = true
	l.takeMessages() // listeners that were being added
	l.closeListeners()
	for fd := range l.slots {
		if c := l.slots[fd].conn; c != nil && c.isParked() {
			c.unpark(ErrShutdown)
		}
	}
}

// teardown ends all jobs and closes everything.
func (l *Loop) teardown() {
	l.stopping.Store(stopNow) // also if the poller has failed
	l.draining = true
	l.in.mu.Lock()
	l.in.closed = true
	l.in.mu.Unlock()
	l.closeListeners()
	for l.starts.n > 0 {
		t := l.starts.pop()
		c := t.conn
		if t.counted {
			t.counted = false
			l.in.release()
		}
		l.freeTask(t)
		if c != nil {
			c.closeNow()
		}
	}
	for l.ready.n > 0 {
		l.ready.pop().queued = false
	}
	// Cancelling a job ends it, and takes it off the list. It can start no other.
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
	if err := l.pool.Close(); err != nil { // a job outside the list of tasks: a defect
		l.log(slog.LevelError, "pool does not close", slog.Any("error", err))
	}
	l.publish()
}

// end marks the loop as ended.
func (l *Loop) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.release()
	close(l.done)
}

// release gives back what New has taken, and what waits in the inbox.
func (l *Loop) release() {
	l.in.mu.Lock()
	l.in.closed = true
	msgs := l.in.msgs
	l.in.msgs = nil
	l.in.mu.Unlock()
	for i := range msgs {
		switch m := &msgs[i]; {
		case m.conn != nil:
			m.conn.closeNow()
		case m.deal != nil:
			m.deal.drop()
		case m.listen != nil:
			m.listen.release()
		}
	}
	if err := l.poller.close(); err != nil {
		l.log(slog.LevelError, "cannot close the poller", slog.Any("error", err))
	}
}
