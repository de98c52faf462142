package load

import (
	"context"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// This file is the open loop: visits begin when they are due, however slow the
// earlier ones are.

// fullPause is how long an open loop waits before it looks for a free connection
// again, when all are in use.
const fullPause = time.Millisecond

// pace begins the visits of an open loop when they are due.
func (w *worker) pace(ctx context.Context) {
	s := w.stage
	limit := int(s.share(int64(s.connections), w.index)) + 1 // 1 is this job
	for {
		canceled := w.letClose(ctx) != nil // the run is stopped
		now := time.Now()
		w.skip(now)
		due, ok := w.arrival()
		full := w.jobs+w.letGone >= limit
		stopping := canceled || w.run.stopping.Load()
		if !ok || stopping || full && s.over(now) { // at the end, visits that are due are still begun if a connection is free
			if full && ok {
				w.giveUp()
			}
			if !ok && !stopping && s.count == 0 {
				loop.Sleep(ctx, s.end.Sub(now)) // the rate is over the whole measured part, and not until its last visit
			}
			return
		}
		var wait time.Duration
		switch {
		case due.After(now):
			wait = due.Sub(now)
			if !s.end.IsZero() {
				wait = min(wait, s.end.Sub(now))
			}
		case full:
			wait = fullPause
			w.rec.full = true
		default:
			w.take()
			w.start(func(ctx context.Context) { w.arrivals(ctx, due) })
			continue
		}
		if loop.Sleep(ctx, wait) != nil { // the run is stopped
			if full {
				w.giveUp()
			}
			return
		}
	}
}

// arrivals does the visit that was due at the given time. Then it does those that
// became due meanwhile and found no free connection.
func (w *worker) arrivals(ctx context.Context, due time.Time) {
	for ok := true; ok && w.letClose(ctx) == nil; due, ok = w.late() {
		v := &visit{due: due}
		w.do(ctx, v)
		if v.parked { // the connection is still in use
			return
		}
	}
}

// late takes a visit that became due and found no free connection. ok is false if there
// is none.
func (w *worker) late() (due time.Time, ok bool) {
	now := time.Now()
	if w.run.stopping.Load() || w.stage.over(now) {
		return due, false
	}
	w.skip(now)
	if due, ok = w.arrival(); !ok || due.After(now) {
		return due, false
	}
	w.take()
	return due, true
}

// skip drops visits that were due so long ago that every client's patience has run
// out. They were not begun because there was no free connection, or because this
// thread was busy. Without skip, a client that cannot keep up would begin all visits
// later and later.
func (w *worker) skip(now time.Time) {
	p := w.run.cfg.Patience
	if p.Share != 1 {
		return
	}
	for {
		due, ok := w.arrival()
		if !ok || now.Sub(due) <= p.Max {
			return
		}
		w.miss(due)
	}
}

// arrival returns when the next visit is due. ok is false if there is none.
func (w *worker) arrival() (due time.Time, ok bool) {
	s := w.stage
	due = s.due(w.next)
	if s.count > 0 && w.left == 0 {
		return due, false
	}
	return due, s.end.IsZero() || due.Before(s.end)
}

// take removes the next arrival from the schedule.
func (w *worker) take() {
	if s := w.stage; s.count > 0 && !s.due(w.next).Before(s.start) {
		w.left--
	}
	w.next = w.gaps.after(w.next, w.stage.workers)
}

// giveUp counts the visits that were due and will not begin any more, because all
// connections were in use until the end.
func (w *worker) giveUp() {
	until := time.Now()
	if w.run.stopping.Load() && w.run.when.Before(until) {
		until = w.run.when
	}
	for {
		due, ok := w.arrival()
		if !ok || due.After(until) {
			break
		}
		w.miss(due)
	}
}

// miss takes the next arrival and counts it as not begun.
func (w *worker) miss(due time.Time) {
	w.take()
	w.tell(nil, End{Kind: kindNotBegun})
	if !due.Before(w.stage.start) {
		w.rec.notBegun++
		w.rec.seen[kindNotBegun]++
		w.rec.fail(kindNotBegun, "all connections were in use", 1)
	}
}
