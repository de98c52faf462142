package jobs_test

import (
	"context"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

func TestContext(t *testing.T) {
	p := newPool(t, 1, 1)
	check := func(when string, ctx context.Context, want jobs.Job) {
		t.Helper()
		if j, ok := jobs.FromContext(ctx); j != want || ok != (want != jobs.Job{}) {
			t.Errorf("%s: FromContext gives job %d, %t, want %d", when, j.ID(), ok, want.ID())
		}
	}
	check("no job", context.Background(), jobs.Job{})
	check("the zero job", jobs.NewContext(context.Background(), jobs.Job{}), jobs.Job{})

	var ctx context.Context
	j := startPaused(t, p, func(j jobs.Job) error {
		c, cancel := context.WithCancel(jobs.NewContext(context.Background(), j))
		defer cancel()
		ctx = c
		check("inside", ctx, j)
		return j.Pause()
	})
	check("paused", ctx, jobs.Job{})
	j.Resume()
	check("finished", ctx, jobs.Job{})
	p.Start(nil, func(k jobs.Job) error {
		check("its coroutine in use again", ctx, jobs.Job{})
		check("the new job", jobs.NewContext(ctx, k), k)
		return nil
	})
}
