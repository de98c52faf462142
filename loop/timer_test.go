package loop_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

func TestSleepOrder(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const n = 100
	type nap struct {
		begin time.Time
		d     time.Duration
	}
	var naps []nap
	var ended []int
	var all []<-chan error
	for _, i := range rand.Perm(n) {
		d := 10*time.Millisecond + time.Duration(i)*100*time.Microsecond
		all = append(all, looptest.Spawn(t, l, func(ctx context.Context) error {
			own := len(naps)
			naps = append(naps, nap{time.Now(), d})
			if err := loop.Sleep(ctx, d); err != nil {
				return err
			}
			ended = append(ended, own)
			if since := time.Since(naps[own].begin); since < d {
				return fmt.Errorf("Sleep(%v) took %v", d, since)
			}
			return nil
		}))
	}
	for _, done := range all {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	looptest.Call(t, l, func() {
		for i, a := range ended {
			for _, b := range ended[i+1:] {
				// A nap has begun before the next job did.
				if b+1 < n && naps[a].begin.Add(naps[a].d).After(naps[b+1].begin.Add(naps[b].d)) {
					t.Errorf("nap %d ended before nap %d, which was to end earlier", a, b)
				}
			}
		}
	})
}

func TestSleepNothing(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, d := range []time.Duration{0, 1, -1, -time.Hour, math.MinInt64} {
		looptest.Must(t, l, func(ctx context.Context) error { return loop.Sleep(ctx, d) })
	}
}

func TestSleepOutsideJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	if err := loop.Sleep(context.Background(), 0); err != loop.ErrNotInJob {
		t.Errorf("Sleep outside a job: %v, want %v", err, loop.ErrNotInJob)
	}
	var other context.Context
	paused := make(chan bool)
	finish := false
	first := looptest.Spawn(t, l, func(ctx context.Context) error {
		other = ctx
		close(paused)
		for !finish {
			if err := loop.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	testkit.Receive(t, paused)
	looptest.Must(t, l, func(context.Context) error {
		if err := loop.Sleep(other, 0); err != loop.ErrNotInJob {
			return fmt.Errorf("Sleep in another job: %v, want %v", err, loop.ErrNotInJob)
		}
		finish = true
		return nil
	})
	if err := testkit.Receive(t, first); err != nil {
		t.Error(err)
	}
	looptest.Must(t, l, func(context.Context) error {
		if err := loop.Sleep(other, 0); err != loop.ErrNotInJob {
			return fmt.Errorf("Sleep in a job that has ended: %v, want %v", err, loop.ErrNotInJob)
		}
		return nil
	})
}

func TestSleepCanceled(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	sleeping := make(chan bool)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		close(sleeping)
		return loop.Sleep(ctx, math.MaxInt64)
	})
	testkit.Receive(t, sleeping)
	l.Close()
	if err := testkit.Receive(t, done); err != jobs.ErrCanceled {
		t.Errorf("Sleep: %v, want %v", err, jobs.ErrCanceled)
	}
}

func TestSleepWhilePauseIsBlocked(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	looptest.Must(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		j.BlockPause()
		start := time.Now()
		if err := loop.Sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
		if d := time.Since(start); d < 2*time.Millisecond {
			return fmt.Errorf("Sleep took %v", d)
		}
		return nil
	})
}

func TestAfterFunc(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, d := range []time.Duration{0, time.Millisecond, -1, -time.Hour} {
		fired := make(chan bool, 1)
		looptest.Call(t, l, func() {
			l.AfterFunc(d, func() {
				if l.Current() != (jobs.Job{}) {
					t.Error("the function is called inside a job")
				}
				fired <- true
			})
		})
		testkit.Receive(t, fired)
	}
}

func TestTimerStop(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	fired := make(chan string, 10)
	looptest.Call(t, l, func() {
		t1 := l.AfterFunc(time.Millisecond, func() { fired <- "stopped" })
		if !t1.Stop() {
			t.Error("Stop of a pending timer is false")
		}
		if t1.Stop() {
			t.Error("Stop of a stopped timer is true")
		}
		var t2 *loop.Timer
		t2 = l.AfterFunc(2*time.Millisecond, func() {
			if t2.Stop() {
				t.Error("Stop of a timer that fires is true")
			}
			fired <- "last"
		})
	})
	if got := testkit.Receive(t, fired); got != "last" {
		t.Errorf("the %s timer fired", got)
	}
}

func TestTimerReset(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	fired := make(chan string, 10)
	looptest.Call(t, l, func() {
		later := l.AfterFunc(time.Millisecond, func() { fired <- "later" })
		sooner := l.AfterFunc(time.Hour, func() { fired <- "sooner" })
		if !later.Reset(time.Hour) || !sooner.Reset(time.Millisecond) {
			t.Error("Reset of a pending timer is false")
		}
		count := 0
		var again *loop.Timer
		again = l.AfterFunc(2*time.Millisecond, func() {
			if count++; count == 3 {
				fired <- "again"
			} else if again.Reset(0) {
				t.Error("Reset of a timer that has fired is true")
			}
		})
	})
	for _, want := range []string{"sooner", "again"} {
		if got := testkit.Receive(t, fired); got != want {
			t.Errorf("%s fired, want %s", got, want)
		}
	}
}

func TestTimerPanics(t *testing.T) {
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	fired := make(chan bool)
	looptest.Call(t, l, func() {
		l.AfterFunc(0, func() { panic("in a timer") })
		l.AfterFunc(time.Millisecond, func() { close(fired) })
	})
	testkit.Receive(t, fired)
	wantOneLine(t, l, &out, "level=ERROR", "in a timer", "TestTimerPanics")
}

func TestManyTimers(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	const n = 20_000
	fired := 0
	done := make(chan bool)
	stopped := 0
	looptest.Call(t, l, func() {
		var timers []*loop.Timer
		for i := range n {
			d := time.Duration(rand.IntN(50_000)) * time.Microsecond
			timers = append(timers, l.AfterFunc(d, func() { fired++ }))
			if i%3 == 0 {
				timers[rand.IntN(len(timers))].Reset(time.Duration(rand.IntN(50_000)) * time.Microsecond)
			}
		}
		for _, i := range rand.Perm(n)[:n/4] {
			if timers[i].Stop() {
				stopped++
			}
		}
		l.AfterFunc(60*time.Millisecond, func() { close(done) })
	})
	testkit.Receive(t, done)
	looptest.Call(t, l, func() {
		if fired+stopped != n {
			t.Errorf("%d timers fired and %d were stopped, of %d", fired, stopped, n)
		}
	})
}
