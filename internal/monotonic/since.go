// Package monotonic converts times to a clock that cannot be set.
package monotonic

import (
	"math"
	"time"
)

// Since returns how long after epoch t is, in nanoseconds. epoch must have a
// monotonic reading, as times from time.Now do. If t has none (after UTC or Round,
// or if it was parsed), t is a time of the system clock. Its distance from what that
// clock shows now is used, even if the clock has been set since epoch.
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
