package jobs_test

import (
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

func BenchmarkResumePause(b *testing.B) {
	p, err := jobs.NewPool(0, 1)
	if err != nil {
		b.Fatal(err)
	}
	stop := false
	j, _, _ := p.Start(nil, func(j jobs.Job) error {
		for !stop {
			j.Pause()
		}
		return nil
	})
	b.ReportAllocs()
	for b.Loop() {
		j.Resume()
	}
	stop = true
	j.Resume()
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStartFinish(b *testing.B) {
	p, err := jobs.NewPool(0, 1)
	if err != nil {
		b.Fatal(err)
	}
	fn := func(jobs.Job) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, st, _ := p.Start(nil, fn); st != jobs.StatusFinished {
			b.Fatal(st)
		}
	}
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCurrent(b *testing.B) {
	p, err := jobs.NewPool(0, 100)
	if err != nil {
		b.Fatal(err)
	}
	p.Start(nil, func(j jobs.Job) error {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := jobs.Current(); !ok {
				b.Fatal("not inside")
			}
		}
		return nil
	})
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
