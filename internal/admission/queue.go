// Package admission decides who is served when more come than can be. A queue
// that is first come, first served, and longer than its clients' patience, is
// worked off for nothing: everybody has left when it is their turn.
//
// A queue that stands for a moment is no harm: many clients who come at once are
// all served, however long that takes. A queue is in the way when it does not
// get shorter and clients give up in it. From then on whoever has waited too long
// is turned away, until nobody has to wait any more. (That the shortest wait in
// an interval tells a burst from a standing queue is the idea of CoDel, RFC
// 8289.)
package admission

import "time"

// Queue is the record of one queue. It does not hold those who wait. Times are
// nanoseconds on a clock of the caller's.
type Queue struct {
	maxWait  int64
	observes bool // and turns nobody away

	// What has happened in the interval.
	began  int64
	length int   // of the queue at its beginning
	least  int64 // the shortest wait
	left   int   // who has left the queue,
	served int   // to be served,
	shed   int   // turned away,
	gone   int   // or has given up

	standing int     // intervals in a row in which the queue stood and did not get shorter
	over     bool    // whoever has waited too long is turned away
	since    int64   // when that began
	calm     int     // intervals in a row since, in which nobody had to wait
	until    int64   // when it was last so; 0: never
	rate     float64 // served a second, in intervals in which the queue stood
}

const (
	// interval is how many times the longest wait an interval lasts.
	interval = 2
	// pause is how many times as long an interval has to be for it to tell
	// nothing: nobody came, or the server did something else.
	pause = 8
	// patience is how many times the longest wait, and how many intervals, a
	// queue may stand although nobody gives up.
	patience = 20
	// memory is how many intervals a queue that had to turn clients away is
	// taken to be like that again without further proof.
	memory = 50
	// enough is how many calm intervals end it: clients come in waves.
	enough = 5
	// probe is after how many intervals proof is wanted again. Clients who would
	// wait, and are turned away, come again at once: that looks like overload.
	probe = 300
	// turnedAway is the most that are turned away in a second. It costs 10 µs
	// or so each: more would take too much from those who are served.
	turnedAway = 8000
	// longest is the most that a longest wait may be.
	longest = time.Hour
)

// New returns the record of a queue in which nobody is to wait longer than
// maxWait, as long as there are others to be served instead. With a negative one
// nobody is turned away.
func New(maxWait time.Duration) *Queue {
	q := &Queue{maxWait: int64(min(maxWait, longest)), least: noWait}
	if maxWait < 0 {
		q.maxWait, q.observes = int64(100*time.Millisecond), true
	}
	return q
}

const noWait = 1<<63 - 1

// Due reports whether an interval has ended, and Next is to be called.
func (q *Queue) Due(now int64) bool { return now-q.began >= interval*q.maxWait }

// Next begins an interval. length is that of the queue now.
func (q *Queue) Next(now int64, length int) {
	if now-q.began > pause*interval*q.maxWait {
		q.over, q.standing = false, 0
	} else {
		q.judge(now, length)
	}
	q.began, q.length, q.least = now, length, noWait
	q.left, q.served, q.shed, q.gone = 0, 0, 0, 0
}

// judge looks at the interval that has ended.
func (q *Queue) judge(now int64, length int) {
	growth := length - q.length
	stood := q.left > 0 && q.least > q.maxWait
	if stood || q.over {
		r := float64(q.served) / (float64(now-q.began) / 1e9)
		if q.rate > 0 {
			r = (r + q.rate) / 2
		}
		q.rate = r
	}
	switch {
	case q.over && now-q.since > probe*interval*q.maxWait:
		q.over, q.standing, q.until = false, 0, 0
	case q.over && (q.shed > 0 || q.left > 0 && q.least > q.maxWait/4 || growth > max(q.served/8, 4)):
		q.until, q.calm = now, 0
	case q.over && q.calm < enough-1:
		q.calm++
	case stood && 4*(q.left+growth) >= 3*q.served: // so many have come
		q.standing++
		if !q.observes && q.mustTurnAway(now) {
			if !q.over {
				q.since = now
			}
			q.over, q.until, q.calm = true, now, 0
		}
	default:
		q.over, q.standing = false, 0
	}
}

// mustTurnAway reports whether a standing queue is worked off for nothing, or is
// as good as that.
func (q *Queue) mustTurnAway(now int64) bool {
	return 16*q.gone >= q.left && q.gone > 1 ||
		q.standing >= patience/interval && q.least > patience*q.maxWait ||
		q.until != 0 && now-q.until < memory*interval*q.maxWait
}

// Leave is told that somebody leaves the queue after a wait, and reports
// whether to serve them.
func (q *Queue) Leave(wait int64) bool {
	q.left++
	q.least = min(q.least, wait)
	if q.over && wait > q.maxWait {
		q.shed++
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

// Doubt is told that whoever is to be served has perhaps given up.
func (q *Queue) Doubt() { q.gone++ }

// Refused is told that whoever was to be served is not, for another reason.
func (q *Queue) Refused() { q.served-- }

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
	return max(int((q.rate+turnedAway)*float64(q.maxWait)/1e9), 1)
}
