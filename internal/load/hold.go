package load

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// This file holds connections open, see Config.Hold. A held connection has no job: the
// loop starts one when the server sends something, or when the time is up.

// holding is a connection that is held open. It is a loop.Handler.
type holding struct {
	w     *worker
	v     *visit
	raw   *loop.Conn
	t     *tls.Conn // to say goodbye; nil if the connection will be reset
	time  time.Duration
	since time.Time
}

// dropSize is the size of the buffer for what servers send on held connections.
const dropSize = 16 << 10

// newHeld returns the connection of a visit that has succeeded, for hold.
func (w *worker) newHeld(v *visit, raw *loop.Conn, t *tls.Conn, d time.Duration) *holding {
	if w.run.cfg.Reset {
		t = nil
	}
	return &holding{w: w, v: v, raw: raw, t: t, time: d}
}

// hold begins the hold of a connection. The caller parks it.
func (w *worker) hold(h *holding) {
	h.since = time.Now()
	if w.dropped == nil {
		w.dropped = make([]byte, dropSize)
		w.held = make(map[*holding]struct{})
	}
	if w.stage.counts(h.v) {
		w.rec.held++
	}
	w.jobs++
	w.held[h] = struct{}{}
	h.raw.SetDeadline(time.Time{})
	h.raw.SetReadDeadline(h.since.Add(h.time))
}

// park parks the connection.
func (h *holding) park() {
	h.v.parked = true
	if err := h.raw.Serve(h); err != nil { // the answer ended with the connection
		h.end(err)
		h.raw.Close()
	}
}

// Serve runs when the server has sent something, or the time is up.
func (h *holding) Serve(_ context.Context, c *loop.Conn) error {
	for c.Readable() {
		_, err := c.Read(h.w.dropped) // what other jobs put there meanwhile does not matter
		if err != nil {
			h.end(err)
			return nil
		}
	}
	return c.Park(h)
}

// end ends the hold. The caller closes the connection.
func (h *holding) end(err error) {
	w := h.w
	if canceled(err) { // the run was stopped
		return
	}
	delete(w.held, h)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		if w.stage.counts(h.v) {
			record(w.rec.heldEnded, time.Since(h.since))
		}
	} else if h.t != nil {
		h.goodbye()
	}
	w.run.inFlight.Add(-1)
	w.ended++
	if w.stage.rate == 0 {
		w.start(func(ctx context.Context) { w.repeat(ctx, 0, false) })
	}
	w.jobEnded()
}

// goodbye closes this side of the connection and waits until the server closes the other.
func (h *holding) goodbye() {
	h.raw.SetDeadline(time.Now().Add(lingerTimeout))
	h.t.CloseWrite()
	h.raw.CloseWrite()
	for {
		if _, err := h.raw.Read(h.w.dropped); err != nil {
			return
		}
	}
}

// letGo ends all holds when the stage is over, or when nothing else is left of it.
func (w *worker) letGo(now time.Time) {
	s := w.stage
	over := w.run.stopping.Load() || s.over(now)
	last := w.jobs == len(w.held) && (s.rate > 0 || s.count > 0 && w.left == 0)
	if w.lettingGo || !over && !last {
		return
	}
	w.lettingGo, w.letGone = true, len(w.held)
	for h := range w.held {
		h.raw.SetReadDeadline(now)
	}
}
