// Package admission decides who is served when more clients come than can be
// served. If a first-come, first-served queue is longer than its clients' patience,
// serving it is useless: all clients have left by the time it is their turn.
//
// A queue that stands for a while does no harm: if many clients come at once, all
// of them are served, however long that takes. A queue is harmful if it does not
// get shorter and clients give up in it. From then on clients that have waited too
// long are turned away, until nobody has to wait any more. (The shortest wait in an
// interval tells a burst from a standing queue. That is the idea of CoDel, RFC
// 8289.)
package admission

import "time"

// Queue is the record of one queue. It does not hold the waiting clients. Times are
// in nanoseconds, on a clock of the caller's choice.
type Queue struct {
	maxWait  int64
	observes bool // turns nobody away

	// What has happened in the current interval.
	began  int64
	length int   // of the queue when the interval began
	least  int64 // the shortest wait
	left   int   // clients that have left the queue
	served int   // those of them that are served
	shed   int   // those that were turned away
	gone   int   // those that had given up

	standing int     // intervals in a row in which the queue stood and did not get shorter
	over     bool    // clients that have waited too long are turned away
	since    int64   // when over became true
	calm     int     // intervals in a row, since then, in which nobody had to wait
	until    int64   // when overload was last seen; 0: never
	rate     float64 // clients served a second, in intervals in which the queue stood
}

const (
	// interval is the length of an interval, as a multiple of maxWait.
	interval = 2
	// pause is how many times longer than planned an interval must have been to be
	// ignored. Then nobody came, or the server was busy with something else.
	pause = 8
	// patience is how long a queue may stand although nobody gives up. It is a
	// multiple of maxWait, for the clients' waits and for the time that the queue
	// has stood.
	patience = 20
	// memory is for how many intervals after overload a standing queue is taken for
	// overload again, without further proof.
	memory = 50
	// enough is how many calm intervals end an overload. One is not enough, because
	// clients come in waves.
	enough = 5
	// probe is after how many intervals of overload new proof is needed. Clients
	// that would be willing to wait come again at once when they are turned away,
	// and that looks like overload.
	probe = 300
	// turnedAway is how many clients can be turned away in a second. Each costs
	// about 10 µs, and more would take too much from those that are served.
	turnedAway = 8000
	// longest is the upper limit of maxWait.
	longest = time.Hour
)

// New returns the record of a queue in which nobody should wait longer than
// maxWait, as long as there are others to serve instead. If maxWait is negative,
// nobody is turned away.
func New(maxWait time.Duration) *Queue {
	q := &Queue{maxWait: int64(min(maxWait, longest)), least: noWait}
	if maxWait < 0 {
		q.maxWait, q.observes = int64(100*time.Millisecond), true
	}
	return q
}

const noWait = 1<<63 - 1

// Due reports whether the interval has ended, so that Next must be called.
func (q *Queue) Due(now int64) bool { return now-q.began >= interval*q.maxWait }

// Next judges the interval that has ended and begins another. length is the current
// length of the queue.
func (q *Queue) Next(now int64, length int) {
	if now-q.began > pause*interval*q.maxWait {
		q.over, q.standing = false, 0
	} else {
		q.judge(now, length)
	}
	q.began, q.length, q.least = now, length, noWait
	q.left, q.served, q.shed, q.gone = 0, 0, 0, 0
}

// judge decides from the interval that has ended whether there is overload.
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
	case stood && 4*(q.left+growth) >= 3*q.served: // left+growth is how many have come
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

// mustTurnAway reports whether serving a standing queue is useless: clients give
// up in it, or wait so long that they soon will, or there was overload recently.
func (q *Queue) mustTurnAway(now int64) bool {
	return 16*q.gone >= q.left && q.gone > 1 ||
		q.standing >= patience/interval && q.least > patience*q.maxWait ||
		q.until != 0 && now-q.until < memory*interval*q.maxWait
}

// Leave must be called when a client leaves the queue after a wait. It reports
// whether to serve the client.
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

// Gone must be called when a client that has given up leaves the queue after a
// wait.
func (q *Queue) Gone(wait int64) {
	q.left++
	q.gone++
	q.least = min(q.least, wait)
}

// Doubt must be called, after Leave, if a client that will be served may have given
// up.
func (q *Queue) Doubt() { q.gone++ }

// Refused must be called, after Leave, if the client is not served for another
// reason.
func (q *Queue) Refused() { q.served-- }

// Empty must be called when the queue is empty.
func (q *Queue) Empty() { q.least = 0 }

// Over reports whether clients that have waited too long are turned away.
func (q *Queue) Over() bool { return q.over }

// Limit returns the greatest length of the queue at which all clients in it can be
// served or turned away in time. 0 means no limit.
func (q *Queue) Limit() int {
	if !q.over {
		return 0
	}
	return max(int((q.rate+turnedAway)*float64(q.maxWait)/1e9), 1)
}
