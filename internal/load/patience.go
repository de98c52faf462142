package load

import (
	"errors"
	"time"
)

// This file says how clients give up, see Config.Patience.

// errGaveUp is the error of a visit whose client gave up.
var errGaveUp = errors.New("the client gave up")

// drawPatience returns the patience of the next visit. It returns 0 if the timeout
// comes first.
func (w *worker) drawPatience() time.Duration {
	d := w.run.cfg.Patience.draw(w.random)
	if d > w.run.cfg.Timeout {
		return 0
	}
	return d
}
