package loop

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
	"unsafe"
)

// step makes t what it would be if the system's clock had been set forward by d
// since: its wall time is d earlier, its monotonic reading the same.
func step(t *time.Time, d time.Duration) {
	// The layout of time.Time, whose first bit tells of a monotonic reading; the
	// wall time's seconds are above 30 bits of nanoseconds.
	p := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(t))
	if p.wall>>63 == 0 {
		panic("no monotonic reading")
	}
	p.wall -= uint64(int64(d/time.Second)) << 30
}

// A deadline is what it is to package net, also when the clock has been set: with
// a monotonic reading it is so far from now, without it is a time of the clock.
func TestDeadlineWhenClockIsSet(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // never sends anything
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, set := range []time.Duration{0, time.Hour, -time.Hour} {
		l := newStopped(t)
		step(&l.epoch, set)
		for name, now := range map[string]func() time.Time{
			"monotonic": time.Now,
			"UTC":       func() time.Time { return time.Now().UTC() },
			"rounded":   func() time.Time { return time.Now().Round(0) },
		} {
			// What is set is read back: no clock can be waited for.
			l.now = l.clock()
			for d, want := range map[time.Duration]int64{time.Minute: l.now + int64(time.Minute), -time.Minute: l.now - int64(time.Minute)} {
				if got := l.at(now().Add(d)); abs(got-max(want, 1)) > int64(10*time.Second) {
					t.Errorf("clock set by %v, %s, a deadline in %v is in %v", set, name, d, time.Duration(got-l.now))
				}
			}
		}
		if got := l.at(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); got < l.now+int64(time.Hour) {
			t.Errorf("a time in the far future is %v from now", time.Duration(got-l.now))
		}
		l.Go(func(ctx context.Context) error {
			defer l.Close()
			c, err := Dial(ctx, "tcp", ln.Addr().String())
			if err != nil {
				t.Error(err)
				return err
			}
			c.SetReadDeadline(time.Now().UTC().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("clock set by %v: Read: %v", set, err)
			}
			return nil
		})
		if err := l.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func abs(n int64) int64 { return max(n, -n) }
