package load

import (
	"errors"
	"maps"

	"github.com/jobloop/jobloop/loop"
)

// This file says how clients abort, see Config.Abort.

// abortPhase is where a client aborts.
type abortPhase uint8

const (
	noAbort abortPhase = iota
	abortConnected
	abortInHello
	abortAfterHello
	abortShaken
	abortAsked // only with a request
	abortPhases
)

// abortNames are the keys of Result.Aborted.
var abortNames = [abortPhases]string{
	abortConnected:  "connected",
	abortInHello:    "in the hello",
	abortAfterHello: "after the hello",
	abortShaken:     "after the handshake",
	abortAsked:      "after the request",
}

// errAborted is the error of a visit whose client aborted.
var errAborted = errors.New("the client aborted")

// drawAbort returns where the next client aborts.
func (w *worker) drawAbort() abortPhase {
	if !w.run.cfg.Abort.has(w.random) {
		return noAbort
	}
	last := abortAsked
	if w.run.cfg.Request == "" {
		last = abortShaken
	}
	return 1 + abortPhase(w.random.IntN(int(last)))
}

// aborts reports whether the client aborts now. If so, it prepares the connection for its
// close: before the handshake is done, half of the clients reset it.
//
// Later ones close it. Otherwise the reset might overtake their last message, and nobody
// would know whether the server has completed the handshake. Their close becomes a reset
// as soon as the server sends something.
func (w *worker) aborts(v *visit, now abortPhase, raw *loop.Conn) bool {
	if v.abort != now {
		return false
	}
	linger := -1
	if now < abortShaken && w.random.IntN(2) == 0 {
		linger = 0
	}
	raw.SetLinger(linger)
	v.aborted = true
	return true
}

// aborted counts the visits whose clients aborted, by phase.
type aborted [abortPhases]int64

func (a *aborted) add(o *aborted) {
	for i, n := range o {
		a[i] += n
	}
}

func (a *aborted) sum() (n int64) {
	for _, m := range a {
		n += m
	}
	return n
}

// addPhases adds counts as they appear in results. nil has none.
func addPhases(a, b map[string]int64) map[string]int64 {
	if len(b) == 0 {
		return a
	}
	sum := maps.Clone(b)
	addTo(sum, a)
	return sum
}

// byName returns the counts as they appear in the result; nil if there are none.
func (a *aborted) byName() map[string]int64 {
	var m map[string]int64
	for phase, n := range a {
		if n > 0 {
			if m == nil {
				m = make(map[string]int64)
			}
			m[abortNames[phase]] = n
		}
	}
	return m
}
