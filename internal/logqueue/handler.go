package logqueue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"sync/atomic"
	"time"
)

// Handler is a slog.Handler that passes records to another one on the goroutine of
// a Queue. None of its methods calls the other handler, not even to ask whether it
// is enabled, so none of them waits. Records that do not fit are dropped; a record
// at warn level then says how many.
//
// Attributes are copied at the call, since what they point to may change before
// they are written. See fix.
type Handler struct {
	queue  *Queue
	parent *Handler // nil: a handler made by New
	attrs  []slog.Attr
	group  string
	levels gate

	// The following belong to the queue's goroutine.
	to    slog.Handler // nil: to be derived from the parent's
	asked bool         // levels is set
}

// New returns a Handler with a Queue of its own.
func New(to slog.Handler) *Handler {
	h := &Handler{queue: new(Queue), to: to}
	h.queue.Lost = h.lost
	return h
}

// Queue returns the queue, which must be used only to look at it and to wait.
func (h *Handler) Queue() *Queue { return h.queue }

// Enabled returns false if the other handler has said so lately.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	if ctx != context.Background() { // the answer may depend on it
		return true
	}
	return h.levels.passes(level)
}

func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if h.queue.Inside() && h.queue.depth.Add(1) > maxEcho {
		// What is logged comes back, for ever: package slog's first handler writes by
		// package log, which slog.SetDefault makes write to this Handler.
		h.queue.dropped.Add(1)
		return nil
	}
	asks := false
	if ctx == context.Background() {
		var ok bool
		if ok, asks = h.levels.enter(r.Level); !ok {
			return nil
		}
	}
	r = fixRecord(r)
	f := func() { h.write(ctx, r) }
	if !asks {
		h.queue.Do(f)
	} else if !h.queue.offer(f) { // as far as is known nobody wants it, so it is not counted
		h.levels.set(r.Level, false)
	}
	return nil
}

func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return h.derive(fixAttrs(attrs, 0), "")
}

func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.derive(nil, name)
}

func (h *Handler) derive(attrs []slog.Attr, group string) *Handler {
	d := &Handler{queue: h.queue, parent: h, attrs: attrs, group: group}
	d.levels.copy(&h.levels)
	return d
}

// write writes a record, on the queue's goroutine.
func (h *Handler) write(ctx context.Context, r slog.Record) {
	if !h.asked {
		h.asked = true
		for _, level := range levels {
			h.ask(context.Background(), level)
		}
	}
	if h.ask(ctx, r.Level) {
		h.to.Handle(ctx, r)
	}
}

// resolve derives the other handler.
func (h *Handler) resolve() slog.Handler {
	if h.to == nil {
		if p := h.parent.resolve(); h.group != "" {
			h.to = p.WithGroup(h.group)
		} else {
			h.to = p.WithAttrs(h.attrs)
		}
	}
	return h.to
}

// ask asks the other handler whether it is enabled, and takes note of the answer. A
// panic means no.
func (h *Handler) ask(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() {
		recover()
		if ctx == context.Background() {
			h.levels.set(level, enabled)
		}
	}()
	return h.resolve().Enabled(ctx, level)
}

// lost tells of n records that were dropped.
func (h *Handler) lost(n uint64) {
	msg := fmt.Sprintf("%d messages were lost, because the log was not written fast enough", n)
	if n == 1 {
		msg = "1 message was lost, because the log was not written fast enough"
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, msg, 0)
	r.AddAttrs(slog.Uint64("lost", n))
	h.write(context.Background(), r)
}

// levels are those that a gate knows. Records at others are always queued.
var levels = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

func indexOf(level slog.Level) (i int, ok bool) {
	switch level {
	case slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError:
		return int(level-slog.LevelDebug) / 4, true
	}
	return 0, false
}

// gate remembers which levels are not enabled, so that records at these cost
// nothing. A handler may change its mind: after recheck, one record is let through,
// which asks again.
type gate [len(levels)]atomic.Int64

// The values of a gate. Others are the time of the next question.
const (
	open   = 0             // enabled, or not known
	asking = math.MaxInt64 // not enabled; a record that asks again is in the queue
)

// recheck is how long the answer no is believed.
const recheck = 100 * time.Millisecond

var start = time.Now()

func now() int64 { return int64(time.Since(start)) + 1 } // never 0

// passes reports whether a record would be let through.
func (g *gate) passes(level slog.Level) bool {
	i, ok := indexOf(level)
	if !ok {
		return true
	}
	v := g[i].Load()
	return v == open || v != asking && now() >= v
}

// enter reports whether a record is let through, and whether it has to ask again.
func (g *gate) enter(level slog.Level) (ok, asks bool) {
	i, known := indexOf(level)
	if !known {
		return true, false
	}
	v := g[i].Load()
	if v == open {
		return true, false
	}
	ok = v != asking && now() >= v && g[i].CompareAndSwap(v, asking)
	return ok, ok
}

// set takes note of an answer.
func (g *gate) set(level slog.Level, enabled bool) {
	i, ok := indexOf(level)
	switch {
	case !ok:
	case enabled:
		g[i].Store(open)
	default:
		g[i].Store(now() + int64(recheck))
	}
}

func (g *gate) copy(from *gate) {
	for i := range g {
		v := from[i].Load()
		if v == asking { // the answer goes to from
			v = now() + int64(recheck)
		}
		g[i].Store(v)
	}
}

// maxEcho is how many records the handler may log itself while the queue does not become
// empty.
const maxEcho = 1000

// maxDepth is how deep groups may lie in each other. A LogValuer may return a group that
// has itself in it.
const maxDepth = 32

func fixRecord(r slog.Record) slog.Record {
	fixed := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		fixed.AddAttrs(slog.Attr{Key: a.Key, Value: fix(a.Value, 0)})
		return true
	})
	return fixed
}

func fixAttrs(attrs []slog.Attr, depth int) []slog.Attr {
	fixed := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		fixed[i] = slog.Attr{Key: a.Key, Value: fix(a.Value, depth)}
	}
	return fixed
}

// fix returns a value that does not change any more. Errors stay what they are, so
// that handlers can look at them. Whatever else may point to something becomes the
// text that slog.TextHandler would write.
func fix(v slog.Value, depth int) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		if depth == maxDepth {
			return slog.StringValue("groups in groups, without an end")
		}
		return slog.GroupValue(fixAttrs(v.Group(), depth+1)...)
	case slog.KindAny:
	default:
		return v
	}
	switch x := v.Any().(type) {
	case nil, error:
		return v
	case []byte:
		return slog.AnyValue(bytes.Clone(x))
	default:
		if k := reflect.TypeOf(x).Kind(); k <= reflect.Complex128 || k == reflect.String {
			return v
		}
		return slog.StringValue(fmt.Sprintf("%+v", x))
	}
}
