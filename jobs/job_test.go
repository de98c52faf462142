package jobs_test

import (
	"io"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

func TestStartReturnsWhatTheJobReturned(t *testing.T) {
	p := newPool(t, 0, 0)
	for _, wantErr := range []error{nil, io.EOF, jobs.ErrNoJobs} {
		_, st, err := p.Start(nil, func(jobs.Job) error { return wantErr })
		if st != jobs.StatusFinished || err != wantErr {
			t.Errorf("Start = %v, %v, want finished, %v", st, err, wantErr)
		}
		j := startPaused(t, p, func(j jobs.Job) error {
			j.Pause()
			return wantErr
		})
		st, err = j.Resume()
		if st != jobs.StatusFinished || err != wantErr {
			t.Errorf("Resume = %v, %v, want finished, %v", st, err, wantErr)
		}
	}
}

func TestJobsTakeTurns(t *testing.T) {
	p := newPool(t, 0, 0)
	var log []string
	say := func(name string) func(jobs.Job) error {
		return func(j jobs.Job) error {
			for _, part := range []string{"1", "2", "3"} {
				log = append(log, name+part)
				if err := j.Pause(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	a := startPaused(t, p, say("a"))
	b := startPaused(t, p, say("b"))
	for _, j := range []jobs.Job{b, b, a, a} {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusPaused, nil)
	}
	for _, j := range []jobs.Job{a, b} {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusFinished, nil)
	}
	if want := []string{"a1", "b1", "b2", "b3", "a2", "a3"}; !slices.Equal(log, want) {
		t.Errorf("the jobs ran %v, want %v", log, want)
	}
}

func TestSpuriousResumes(t *testing.T) {
	p := newPool(t, 0, 0)
	ready, looked := false, 0
	j := startPaused(t, p, func(j jobs.Job) error {
		for !ready {
			looked++
			if err := j.Pause(); err != nil {
				return err
			}
		}
		return nil
	})
	for range 5 {
		st, err := j.Resume()
		want(t, st, err, jobs.StatusPaused, nil)
	}
	if looked != 6 {
		t.Errorf("the job looked %d times, want 6", looked)
	}
	ready = true
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestPauseFromOutside(t *testing.T) {
	p := newPool(t, 0, 0)
	steps := 0
	j := startPaused(t, p, func(j jobs.Job) error {
		steps++
		err := j.Pause()
		steps++
		return err
	})
	if err := j.Pause(); err != nil {
		t.Errorf("Pause from outside: %v", err)
	}
	// From inside another job it must pause neither.
	_, st, err := p.Start(nil, func(jobs.Job) error { return j.Pause() })
	want(t, st, err, jobs.StatusFinished, nil)
	if steps != 1 {
		t.Fatalf("the job went on: %d steps, want 1", steps)
	}
	st, err = j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
	if err := j.Pause(); err != nil {
		t.Errorf("Pause of a finished job: %v", err)
	}
}

func TestBlockPause(t *testing.T) {
	// B blocks, U unblocks, - calls Pause and expects it to return at once, and
	// P calls Pause and expects it to pause.
	for _, script := range []string{
		"P",
		"B-",
		"BUP",
		"BB-U-UP",
		"UUUP",
		"UB-UP",
		"BUUUP",
		"PB--UPP",
	} {
		t.Run(script, func(t *testing.T) {
			p := newPool(t, 0, 0)
			paused := 0
			j, st, err := p.Start(nil, func(j jobs.Job) error {
				for _, op := range script {
					before := paused
					if blocks := op == '-'; blocks != j.PauseBlocked() && (blocks || op == 'P') {
						t.Errorf("before %c, PauseBlocked() = %v", op, !blocks)
					}
					switch op {
					case 'B':
						j.BlockPause()
					case 'U':
						j.UnblockPause()
					default:
						if err := j.Pause(); err != nil {
							return err
						}
						if got := paused > before; got != (op == 'P') {
							t.Errorf("at %c of %s: paused is %t", op, script, got)
						}
					}
				}
				return nil
			})
			for st == jobs.StatusPaused {
				paused++
				st, err = j.Resume()
			}
			want(t, st, err, jobs.StatusFinished, nil)
		})
	}
}

func TestPauseBlockedOutsideTheJob(t *testing.T) {
	p := newPool(t, 0, 0)
	j := startPaused(t, p, func(j jobs.Job) error {
		j.BlockPause()
		j.Pause() // returns at once
		j.UnblockPause()
		err := j.Pause()
		j.BlockPause()
		return err
	})
	if (jobs.Job{}).PauseBlocked() || j.PauseBlocked() {
		t.Error("PauseBlocked is true of no job, or to a caller outside")
	}
	st, err := j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
	if j.PauseBlocked() {
		t.Error("PauseBlocked is true of a job that has finished")
	}
}

func TestBlockPauseEndsWithTheJob(t *testing.T) {
	p := newPool(t, 1, 1) // so that the next job has the same coroutine
	for _, end := range []func(){func() {}, func() { panic("end") }} {
		p.Start(nil, func(j jobs.Job) error {
			j.BlockPause()
			j.BlockPause()
			end()
			return nil
		})
		wantUsable(t, p)
		j := startPaused(t, p, func(j jobs.Job) error {
			j.BlockPause()
			j.UnblockPause()
			return j.Pause()
		})
		st, err := j.Resume()
		want(t, st, err, jobs.StatusFinished, nil)
	}
}

func TestBlockPauseFromOutside(t *testing.T) {
	p := newPool(t, 0, 0)
	j := startPaused(t, p, func(j jobs.Job) error {
		j.Pause()
		j.BlockPause()
		j.Pause() // returns at once
		j.UnblockPause()
		return j.Pause()
	})
	j.BlockPause()
	st, err := j.Resume() // to the last Pause
	want(t, st, err, jobs.StatusPaused, nil)
	st, err = j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestStaleHandle(t *testing.T) {
	p := newPool(t, 1, 1)
	stale := startPaused(t, p, pauseOnce)
	st, err := stale.Resume()
	want(t, st, err, jobs.StatusFinished, nil)

	check := func(when string) {
		t.Helper()
		if st, err := stale.Resume(); st != jobs.StatusError || err != jobs.ErrFinished {
			t.Errorf("%s: Resume = %v, %v, want error, %v", when, st, err, jobs.ErrFinished)
		}
		if st, err := stale.Cancel(); st != jobs.StatusError || err != jobs.ErrFinished {
			t.Errorf("%s: Cancel = %v, %v, want error, %v", when, st, err, jobs.ErrFinished)
		}
		stale.SetValue("stale")
		stale.BlockPause()
		stale.UnblockPause()
		if v, w := stale.Value(), stale.WaitCtx(); v != nil || w != nil {
			t.Errorf("%s: Value = %v and WaitCtx = %v, want nil", when, v, w)
		}
		if err := stale.Pause(); err != nil {
			t.Errorf("%s: Pause = %v, want nil", when, err)
		}
	}
	check("idle coroutine")

	steps := 0
	j := startPaused(t, p, func(j jobs.Job) error {
		j.SetValue("new")
		steps++
		stale.Pause() // must not pause this job
		stale.BlockPause()
		steps++
		err := j.Pause()
		steps++
		return err
	})
	if steps != 2 {
		t.Fatalf("the new job made %d steps, want 2", steps)
	}
	check("coroutine with another job")
	if steps != 2 || j.Value() != "new" {
		t.Errorf("the stale handle reached the new job: %d steps, value %v", steps, j.Value())
	}
	st, err = j.Resume()
	want(t, st, err, jobs.StatusFinished, nil)
}

func TestZeroJob(t *testing.T) {
	var j jobs.Job
	if st, err := j.Resume(); st != jobs.StatusError || err != jobs.ErrFinished {
		t.Errorf("Resume = %v, %v", st, err)
	}
	if st, err := j.Cancel(); st != jobs.StatusError || err != jobs.ErrFinished {
		t.Errorf("Cancel = %v, %v", st, err)
	}
	if err := j.Pause(); err != nil {
		t.Errorf("Pause = %v", err)
	}
	j.BlockPause()
	j.UnblockPause()
	j.SetValue(1)
	if v, w, id := j.Value(), j.WaitCtx(), j.ID(); v != nil || w != nil || id != 0 {
		t.Errorf("Value = %v, WaitCtx = %v, ID = %d, want nil, nil, 0", v, w, id)
	}
}

func TestHandlesCompare(t *testing.T) {
	p := newPool(t, 0, 0)
	var inside jobs.Job
	first := startPaused(t, p, func(j jobs.Job) error {
		inside = j
		return j.Pause()
	})
	if first != inside {
		t.Error("the handle inside the job differs from the one outside")
	}
	second := startPaused(t, p, pauseOnce)
	names := map[jobs.Job]string{first: "first", second: "second"}
	if len(names) != 2 || names[inside] != "first" {
		t.Errorf("handles as keys: %v", names)
	}
	first.Resume()
	if reused := startPaused(t, p, pauseOnce); reused == first || reused == (jobs.Job{}) {
		t.Error("the handle of a new job equals an old one")
	}
}

func TestIDs(t *testing.T) {
	p, other := newPool(t, 1, 1), newPool(t, 0, 0)
	for want := uint64(1); want <= 3; want++ {
		j, _, _ := p.Start(nil, nothing)
		if j.ID() != want {
			t.Errorf("job %d has ID %d", want, j.ID())
		}
	}
	j := startPaused(t, p, pauseOnce)
	p.Start(nil, nothing) // refused: takes no number
	j.Resume()
	if j, _, _ := p.Start(nil, nothing); j.ID() != 5 {
		t.Errorf("ID %d after a refused Start, want 5", j.ID())
	}
	if j, _, _ := other.Start(nil, nothing); j.ID() != 1 {
		t.Errorf("another pool's first ID is %d", j.ID())
	}
}

func TestValue(t *testing.T) {
	p := newPool(t, 1, 1)
	for range 2 { // the second round proves that nothing is left of the first
		j := startPaused(t, p, func(j jobs.Job) error {
			if v := j.Value(); v != nil {
				t.Errorf("a new job has value %v", v)
			}
			j.SetValue("from inside")
			j.Pause()
			if v := j.Value(); v != "from outside" {
				t.Errorf("Value inside = %v", v)
			}
			return nil
		})
		if v := j.Value(); v != "from inside" {
			t.Errorf("Value outside = %v", v)
		}
		j.SetValue("from outside")
		st, err := j.Resume()
		want(t, st, err, jobs.StatusFinished, nil)
	}
}
