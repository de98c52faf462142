package offload_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// A late result does not reach the descriptor that has got the number of the
// one which was waited for.
func TestLateResultAndReusedDescriptor(t *testing.T) {
	for name, end := range map[string]struct {
		timeout time.Duration
		end     func(r reactor)
		err     error
	}{
		"canceled": {0, reactor.Cancel, jobs.ErrCanceled},
		"timeout":  {500 * time.Millisecond, func(reactor) {}, offload.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			r := newPollReactor(t).(*handReactor)
			e := newEngine(t, offload.Config{Wake: offload.WakeFD, Timeout: end.timeout})
			g := newGate(t)
			done := r.Go(signing(newKey(t, e, g)))
			testkit.Receive(t, g.entered)
			waited := -1
			r.do(func() {
				for task := range r.tasks {
					waited = task.wait.AllFDs(nil)[0]
				}
			})
			end.end(r)
			testkit.WantErr(t, testkit.Receive(t, done), end.err)

			reused := -1
			for range 100 { // the lowest free number comes first
				fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if fd == waited {
					reused = fd
					break
				}
			}
			if reused < 0 {
				t.Fatalf("descriptor %d is still open", waited)
			}
			g.open()
			testkit.Eventually(t, "the late result", func() bool { return e.Stats().Dropped == 1 })
			r.do(func() {})
			if n, err := unix.Read(reused, make([]byte, 8)); err != unix.EAGAIN {
				t.Errorf("read of the reused descriptor: %d bytes, error %v, want none", n, err)
			}
		})
	}
}

// Where no descriptor is to be had, the operation fails, and the job goes on.
func TestNoDescriptors(t *testing.T) {
	testkit.CheckLeaks(t)
	r := newPollReactor(t)
	e := newEngine(t, offload.Config{Wake: offload.WakeFD})
	k := newKey(t, e, testkit.ECDSAKey())
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: limit.Max} // 0 to 2 are open
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	err := testkit.Receive(t, r.Go(signing(k)))
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	testkit.WantErr(t, err, offload.ErrNoWake, unix.EMFILE)
	drain(t, []<-chan error{r.Go(signing(k))})
}
