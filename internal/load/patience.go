package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// This file says how long clients wait, and how they give up.

// Patience is how long a client waits before it gives up. The time counts from when
// the client begins to connect, and includes its handshake and request. Each client
// draws its time at random from Min to Max, evenly distributed. Every run draws the
// same times in the same order.
//
// A client that gives up closes its connection as a browser does (FIN), even if
// Config.Reset is set. It does not wait for the server to close. It counts as an
// error of its own kind, "gave up". If its patience is longer than Config.Timeout,
// the timeout ends it, and it counts as a "timeout". In an open loop, a client that
// has not begun within Max after it was due does not begin at all. The probes before
// a run do not give up.
type Patience struct{ Min, Max time.Duration }

// UnmarshalText parses a time, such as 2s, or a range, such as 500ms-4s.
func (p *Patience) UnmarshalText(text []byte) error {
	least, most, isRange := strings.Cut(string(text), "-")
	if !isRange {
		most = least
	}
	from, err := time.ParseDuration(least)
	to, toErr := time.ParseDuration(most)
	if err != nil || toErr != nil || from <= 0 || to < from {
		return fmt.Errorf("%q is neither a time to wait, such as 2s, nor a range, such as 500ms-4s", text)
	}
	*p = Patience{from, to}
	return nil
}

// String returns the form that UnmarshalText parses; "" for the zero Patience.
func (p Patience) String() string {
	switch {
	case p == Patience{}:
		return ""
	case p.Min == p.Max:
		return p.Min.String()
	}
	return p.Min.String() + "-" + p.Max.String()
}

// errGaveUp is the error of a visit whose client gave up.
var errGaveUp = errors.New("the client gave up")

// newRandom returns a worker's random numbers. They are the same in every run.
func newRandom(index int) *rand.Rand { return rand.New(rand.NewPCG(1, uint64(index))) }

// draw returns the patience of the next client.
func (p Patience) draw(random *rand.Rand) time.Duration {
	if p.Min == p.Max {
		return p.Min
	}
	return p.Min + time.Duration(random.Int64N(int64(p.Max-p.Min)+1))
}

// drawPatience returns the patience of the next visit. It returns 0 if the timeout
// comes first.
func (w *worker) drawPatience() time.Duration {
	d := w.run.cfg.Patience.draw(w.random)
	if d > w.run.cfg.Timeout {
		return 0
	}
	return d
}

// leave prepares a connection for its close if the client gave up. The close must
// not be a reset, which would tell the server that nobody waits for its answer.
func (v *visit) leave(raw *loop.Conn) {
	if v.gaveUp {
		raw.SetLinger(-1)
	}
}
