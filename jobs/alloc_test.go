package jobs_test

import (
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

func TestWarmPoolDoesNotAllocate(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	p := newPool(t, 0, 2)
	w := waitctx.New()
	paused := startPaused(t, p, func(j jobs.Job) error {
		for j.Pause() == nil {
		}
		return nil
	})
	waitOnce := func(j jobs.Job) error {
		j.WaitCtx().SetWaitFD("key", 3, nil, nil)
		err := j.Pause()
		j.WaitCtx().ClearFD("key")
		return err
	}
	tests := []struct {
		name string
		fn   func()
	}{
		{"start and finish", func() { p.Start(nil, nothing) }},
		{"start with a WaitCtx and finish", func() { p.Start(w, nothing) }},
		{"start, wait for a descriptor and finish", func() {
			j, _, _ := p.Start(w, waitOnce)
			j.Resume()
			w.ResetChanges()
		}},
		{"resume and pause", func() { paused.Resume() }},
	}
	for _, tt := range tests {
		if allocs := testkit.AllocsPerRun(100, tt.fn); allocs != 0 {
			t.Errorf("%s allocates %v times, want 0", tt.name, allocs)
		}
	}
	if got := p.Stats(); got.Paused != 1 || got.Started < 300 || got.Panicked != 0 {
		t.Errorf("%+v: the jobs did not run as meant", got)
	}
}
