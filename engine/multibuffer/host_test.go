package multibuffer

import (
	"context"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// plainHost is the least that engine.Host asks for: an event loop that is not
// package loop's, and whose jobs have no callback.
type plainHost struct {
	after, before []func()
	ready         []jobs.Job
	locals        map[any]any
	posted        chan func()
}

func (h *plainHost) BeforeSleep(f func()) func() {
	h.before = append(h.before, f)
	return func() { h.before = nil }
}
func (h *plainHost) AfterJobs(f func()) func() {
	h.after = append(h.after, f)
	return func() { h.after = nil }
}
func (h *plainHost) Ready(j jobs.Job)        { h.ready = append(h.ready, j) }
func (h *plainHost) Post(f func()) error     { h.posted <- f; return nil }
func (h *plainHost) Local(key any) any       { return h.locals[key] }
func (h *plainHost) SetLocal(key, value any) { h.locals[key] = value }

// Any Host will do, also one that resumes jobs without a reason.
func TestAnyHost(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	p, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h := &plainHost{locals: make(map[any]any)}
	var paused []jobs.Job
	start := func() {
		j, st, err := p.Start(nil, func(j jobs.Job) error {
			return signs(engine.WithHost(jobs.NewContext(context.Background(), j), h), k)
		})
		if st != jobs.StatusPaused || err != nil {
			t.Fatalf("the job does not wait: %v, %v", st, err)
		}
		paused = append(paused, j)
	}
	for range 9 {
		start()
	}
	for _, f := range h.after {
		f()
	}
	if !slices.Equal(h.ready, paused[:8]) {
		t.Errorf("ready: %v, want the first eight of %v", h.ready, paused)
	}
	for _, f := range h.before {
		f()
	}
	if !slices.Equal(h.ready, paused) {
		t.Errorf("ready: %v, want %v", h.ready, paused)
	}
	start()
	if st, err := paused[9].Resume(); st != jobs.StatusPaused || err != nil {
		t.Errorf("resumed without a signature, the job has not paused again: %v, %v", st, err)
	}
	for _, f := range h.before {
		f()
	}
	for _, j := range h.ready {
		if st, err := j.Resume(); st != jobs.StatusFinished || err != nil {
			t.Errorf("a job: %v, %v", st, err)
		}
	}
	wantSizes(t, e, map[int]uint64{8: 1, 1: 2})
}

// A worker's batch comes back by Post to hosts whose jobs have no callback.
func TestAnyHostWithWorker(t *testing.T) {
	e := newEngine(t, Config{Worker: true})
	k := newKey(t, e, "2048a")
	p, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	h := &plainHost{locals: make(map[any]any), posted: make(chan func(), 1)}
	j, st, err := p.Start(nil, func(j jobs.Job) error {
		return signs(engine.WithHost(jobs.NewContext(context.Background(), j), h), k)
	})
	if st != jobs.StatusPaused || err != nil {
		t.Fatalf("the job does not wait: %v, %v", st, err)
	}
	h.before[0]()
	testkit.Receive(t, h.posted)()
	if !slices.Equal(h.ready, []jobs.Job{j}) {
		t.Errorf("ready: %v, want %v", h.ready, j)
	}
	if st, err := j.Resume(); st != jobs.StatusFinished || err != nil {
		t.Errorf("the job: %v, %v", st, err)
	}
	wantSizes(t, e, map[int]uint64{1: 1})
}
