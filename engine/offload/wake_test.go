package offload_test

import (
	"context"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// A wake that came before the job waits for its operation makes the first pause
// end at once: the job goes on waiting, and nobody polls it.
func TestWakeBeforeTheOperation(t *testing.T) {
	wakes := map[string]func(ctx context.Context, wake func(jobs.Job)){
		"Loop.Wake": func(ctx context.Context, wake func(jobs.Job)) {
			j, _ := jobs.FromContext(ctx)
			wake(j)
		},
		"callback": func(ctx context.Context, _ func(jobs.Job)) {
			j, _ := jobs.FromContext(ctx)
			fn, arg, _ := j.WaitCtx().Callback()
			fn(arg)
		},
	}
	for name, mode := range wakeModes {
		for how, wake := range wakes {
			t.Run(name+", "+how, func(t *testing.T) {
				testkit.CheckLeaks(t)
				l := looptest.New(t, loop.Config{})
				e := newEngine(t, offload.Config{Wake: mode})
				g := newGate(t)
				k := newKey(t, e, g)
				resumes := make(chan func() uint64, 1)
				done := make(chan error, 1)
				l.Go(looptest.Report(done, func(ctx context.Context) error {
					wake(ctx, func(j jobs.Job) { l.Wake(j) })
					j, _ := jobs.FromContext(ctx)
					resumes <- j.Resumes
					return sign(k.ForContext(ctx))
				}))
				testkit.Receive(t, g.entered)
				looptest.Settle(t, l)
				count := testkit.Receive(t, resumes)
				var n uint64
				l.Post(func() { n = count() })
				looptest.Settle(t, l)
				if n != 1 {
					t.Errorf("the job has been resumed %d times, want once", n)
				}
				time.Sleep(20 * time.Millisecond)
				l.Post(func() { n = count() })
				looptest.Settle(t, l)
				if n != 1 {
					t.Errorf("the job is polled: %d resumes", n)
				}
				if len(done) > 0 {
					t.Errorf("the job has ended: %v", <-done)
				}
				g.open()
				drain(t, []<-chan error{done})
			})
		}
	}
}

// Wakes that come all the time disturb no operation.
func TestWakesAtAnyTime(t *testing.T) {
	for name, mode := range wakeModes {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			e := newEngine(t, offload.Config{Workers: 2, Wake: mode})
			k := newKey(t, e, testkit.ECDSAKey())
			var results []<-chan error
			for range 4 {
				done := make(chan error, 1)
				l.Go(looptest.Report(done, func(ctx context.Context) error {
					j, _ := jobs.FromContext(ctx)
					stop, stopped := make(chan bool), make(chan bool)
					go func() {
						defer close(stopped)
						for {
							select {
							case <-stop:
								return
							default:
								l.Wake(j)
							}
						}
					}()
					defer func() { close(stop); <-stopped }()
					bound := k.ForContext(ctx)
					for range 50 {
						if err := sign(bound); err != nil {
							return err
						}
					}
					return nil
				}))
				results = append(results, done)
			}
			drain(t, results)
			wantStats(t, e, "200 operations")
		})
	}
}
