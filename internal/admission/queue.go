// Package admission decides who is served when more come than can be: a queue
// that is first come, first served, and longer than its clients' patience, is
// worked off for nothing.
//
// A queue that stands for a moment is no harm: many clients who come at once are
// all served, however long that takes. A queue stands in the way when it does not
// get shorter and clients give up in it. From then on whoever has waited too long
// is turned away, until the queue has been all but empty. (That the shortest
// wait in an interval tells a burst from a standing queue is the idea of CoDel,
// RFC 8289.)
package admission

import "time"

// Queue is the record of one queue. It does not hold those who wait. Times are
// nanoseconds on a clock of the caller's.
type Queue struct {
	maxWait int64

	began  int64 // when the interval began
	length int   // of the queue then
	least  int64 // the shortest wait in the interval
	left   int   // how many have left the queue
	served int   // of them
	gone   int   // and who had given up

	standing int     // intervals in a row in which it stood and got no shorter
	over     bool    // who has waited too long is turned away
	until    int64   // when it was last so
	rate     float64 // served a second, in intervals in which the queue stood
}

const (
	// interval is how many times the longest wait an interval lasts.
	interval = 2
	// patience is how many times the longest wait, and how many intervals, a
	// queue may stand although nobody gives up.
	patience = 20
	// memory is how many intervals a queue that had to turn clients away is
	// taken to be like that again without further proof.
	memory = 50
	// turnedAway is the most that are turned away in a second. It costs 10 µs
	// or so each: more would take too much from those who are served.
	turnedAway = 8000
)

// New returns the record of a queue in which nobody is to wait longer than
// maxWait, as long as there are others to be served instead.
func New(maxWait time.Duration) *Queue {
	return &Queue{maxWait: int64(maxWait), least: noWait}
}

const noWait = 1<<63 - 1

// Due reports whether an interval has ended, and Next is to be called.
func (q *Queue) Due(now int64) bool { return now-q.began >= interval*q.maxWait }

// Next begins an interval. length is that of the queue now.
func (q *Queue) Next(now int64, length int) {
	took := float64(now-q.began) / 1e9
	arrived := length - q.length + q.left
	stood := q.left > 0 && q.least > q.maxWait
	switch {
	case q.over && (q.left > 0 && q.least > q.maxWait/4 || 8*arrived > 9*q.served):
	case stood && 4*arrived >= 3*q.served:
		q.standing++
		q.over = 16*q.gone >= q.left && q.gone > 1 ||
			q.standing >= patience/interval && q.least > patience*q.maxWait ||
			q.until != 0 && now-q.until < memory*interval*q.maxWait
	default:
		q.over, q.standing = false, 0
	}
	if q.over {
		q.until = now
	}
	if (stood || q.over) && took > 0 {
		if r := float64(q.served) / took; q.rate == 0 {
			q.rate = r
		} else {
			q.rate += (r - q.rate) / 2
		}
	}
	q.began, q.length, q.least = now, length, noWait
	q.left, q.served, q.gone = 0, 0, 0
}

// Leave is told that somebody leaves the queue after a wait, and reports
// whether to serve them.
func (q *Queue) Leave(wait int64) bool {
	q.left++
	q.least = min(q.least, wait)
	if q.over && wait > q.maxWait {
		return false
	}
	q.served++
	return true
}

// Gone is told that somebody who has given up leaves the queue after a wait.
func (q *Queue) Gone(wait int64) {
	q.left++
	q.gone++
	q.least = min(q.least, wait)
}

// Empty is told that the queue is empty.
func (q *Queue) Empty() { q.least = 0 }

// Over reports whether clients who have waited too long are turned away.
func (q *Queue) Over() bool { return q.over }

// Limit is how long the queue may be at most for whoever is in it to be served,
// or turned away, in time; 0 is for no limit.
func (q *Queue) Limit() int {
	if !q.over {
		return 0
	}
	return int((q.rate + turnedAway) * float64(q.maxWait) / 1e9)
}
