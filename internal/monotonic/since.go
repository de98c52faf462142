// Package monotonic measures times against a clock that nobody can set.
package monotonic

import (
	"math"
	"time"
)

// Since returns how long after epoch t is, in nanoseconds. epoch has a
// monotonic reading, as time.Now gives it. If t has none (after UTC, Round, or
// when it was parsed) it is the system's clock that t is a time of, and what
// that clock shows now decides, even if it has been set since epoch.
func Since(epoch, t time.Time) int64 {
	if t == t.Round(0) { // Round strips the monotonic reading
		now, d := int64(time.Since(epoch)), int64(time.Until(t))
		if d > math.MaxInt64-now {
			return math.MaxInt64
		}
		return now + d
	}
	return int64(t.Sub(epoch))
}
