package jobs_test

import (
	"fmt"
	"testing"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// One after another of many jobs is resumed: what a switch of stacks costs when
// the stacks do not fit into the processor's caches.
func BenchmarkResumeInTurn(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("jobs=%d", n), func(b *testing.B) {
			p, err := jobs.NewPool(0, n)
			if err != nil {
				b.Fatal(err)
			}
			all := make([]jobs.Job, n)
			for i := range all {
				j, st, err := p.Start(nil, func(j jobs.Job) error {
					for j.Pause() == nil {
					}
					return nil
				})
				if st != jobs.StatusPaused {
					b.Fatal(st, err)
				}
				all[i] = j
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if st, err := all[i].Resume(); st != jobs.StatusPaused {
					b.Fatal(st, err)
				}
				if i++; i == n {
					i = 0
				}
			}
			p.CancelAll()
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A job that waits once for a descriptor: started, paused, resumed, finished.
func BenchmarkStartWaitFinish(b *testing.B) {
	p, err := jobs.NewPool(0, 1)
	if err != nil {
		b.Fatal(err)
	}
	w := waitctx.New()
	waitOnce := func(j jobs.Job) error {
		if err := j.WaitCtx().SetWaitFD("key", 3, nil, nil); err != nil {
			return err
		}
		err := j.Pause()
		j.WaitCtx().ClearFD("key")
		return err
	}
	b.ReportAllocs()
	for b.Loop() {
		j, st, err := p.Start(w, waitOnce)
		if st != jobs.StatusPaused {
			b.Fatal(st, err)
		}
		if st, err := j.Resume(); st != jobs.StatusFinished || err != nil {
			b.Fatal(st, err)
		}
		w.ResetChanges()
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
