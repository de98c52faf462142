package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// This file is how long clients wait, and how they leave.

// Patience is how long a client waits, from the moment it begins to connect to
// the end of its handshake and request, before it leaves. Each client's is drawn
// from Min to Max, all times alike; the same for all if these are equal. Two runs
// draw the same times in the same order.
//
// A client that leaves closes its connection as a browser does (FIN), whatever
// Config.Reset says, and does not wait for the server's goodbye. It is counted
// as an error of a kind of its own, "gave up". If its patience is longer than
// Config.Timeout, that ends it, as a "timeout". In an open loop, who has not been
// begun for Max after it was due is not begun any more. The probes before a run
// are patient.
type Patience struct{ Min, Max time.Duration }

// UnmarshalText reads a time, such as 2s, or a range, such as 500ms-4s.
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

// String is what UnmarshalText reads; nothing for the zero Patience.
func (p Patience) String() string {
	switch {
	case p == Patience{}:
		return ""
	case p.Min == p.Max:
		return p.Min.String()
	}
	return p.Min.String() + "-" + p.Max.String()
}

// errGaveUp is of a visit whose client's patience was up.
var errGaveUp = errors.New("the client gave up")

// newRandom returns the random numbers of a worker: the same in each run.
func newRandom(index int) *rand.Rand { return rand.New(rand.NewPCG(1, uint64(index))) }

// draw returns the patience of the next client.
func (p Patience) draw(random *rand.Rand) time.Duration {
	if p.Min == p.Max {
		return p.Min
	}
	return p.Min + time.Duration(random.Int64N(int64(p.Max-p.Min)+1))
}

// drawPatience returns the patience of the next visit, 0 if the timeout ends it
// before that.
func (w *worker) drawPatience() time.Duration {
	d := w.run.cfg.Patience.draw(w.random)
	if d > w.run.cfg.Timeout {
		return 0
	}
	return d
}

// leave prepares a connection for its close if its client gave up: that is no
// reset, by which the server would learn that nobody waits for its work.
func (v *visit) leave(raw *loop.Conn) {
	if v.gaveUp {
		raw.SetLinger(-1)
	}
}
