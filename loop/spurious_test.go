//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// The way in which the examples wait for a descriptor tolerates any number of
// resumes for nothing: the loop is not held up by a read that blocks.
func TestSpuriousResume(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	handles := make(chan jobs.Job, 1)
	done := looptest.Spawn(t, l, func(ctx context.Context) error {
		j, _ := jobs.FromContext(ctx)
		if err := j.WaitCtx().SetWaitFD("engine", p[0], nil, nil); err != nil {
			return err
		}
		handles <- j
		for {
			_, err := unix.Read(p[0], make([]byte, 1))
			if err != unix.EAGAIN {
				return err
			}
			if err := j.Pause(); err != nil {
				return err
			}
		}
	})
	j := testkit.Receive(t, handles)
	for range 10 {
		if err := l.Wake(j); err != nil {
			t.Fatal(err)
		}
		looptest.Settle(t, l) // the loop turns
	}
	if _, err := unix.Write(p[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}
