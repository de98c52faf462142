//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package offload_test

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// newPollReactor returns a reactor that waits for the descriptors in the jobs'
// wait contexts, with poll(2).
func newPollReactor(t testing.TB) reactor {
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ends[0]); unix.Close(ends[1]) })
	r := newHandReactor(t)
	r.wake = func() { unix.Write(ends[1], []byte{1}) }
	r.run(func() {
		pfds := []unix.PollFd{{Fd: int32(ends[0]), Events: unix.POLLIN}}
		for task := range r.tasks {
			for _, fd := range task.wait.AllFDs(nil) {
				pfds = append(pfds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
		}
		if _, err := unix.Poll(pfds, -1); err != nil && err != unix.EINTR {
			t.Errorf("poll: %v", err)
			return
		}
		if pfds[0].Revents != 0 {
			unix.Read(ends[0], make([]byte, 1)) // one call at a time
		}
		var ready []*handTask
		for task := range r.tasks {
			fds := task.wait.AllFDs(nil)
			if slices.ContainsFunc(pfds[1:], func(p unix.PollFd) bool {
				return p.Revents != 0 && slices.Contains(fds, int(p.Fd))
			}) {
				ready = append(ready, task)
			}
		}
		for _, task := range ready {
			r.resume(task)
		}
	})
	return r
}
