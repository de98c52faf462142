package monotonic

import (
	"math"
	"testing"
	"time"
)

func TestSince(t *testing.T) {
	const close = int64(10 * time.Second) // a slow machine does not matter
	epoch := time.Now()
	for name, now := range map[string]func() time.Time{
		"with a reading":    time.Now,
		"without, in UTC":   func() time.Time { return time.Now().UTC() },
		"without, rounded":  func() time.Time { return time.Now().Round(0) },
		"in a zone of time": func() time.Time { return time.Now().In(time.FixedZone("x", 3600)) },
	} {
		for _, d := range []time.Duration{-time.Hour, 0, time.Hour} {
			if got := Since(epoch, now().Add(d)) - int64(d); got < -close || got > close {
				t.Errorf("%s, %v from now: off by %v", name, d, time.Duration(got))
			}
		}
	}
	if got := Since(epoch, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); got != math.MaxInt64 {
		t.Errorf("the far future is %v away", time.Duration(got))
	}
	if got := Since(epoch, time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)); got >= 0 {
		t.Errorf("the far past is %v away", time.Duration(got))
	}
}
