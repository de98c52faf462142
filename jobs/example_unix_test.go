//go:build unix

package jobs_test

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/waitctx"
)

// A program without a loop: one job, which waits for a byte in a pipe, and
// poll(2). It says and does what the example in the manual page of OpenSSL's
// ASYNC_start_job does.
func Example_poll() {
	fmt.Println("Starting...")

	pool, err := jobs.NewPool(1, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	wait := waitctx.New()
	defer wait.Close() // which closes the pipe

	var ret int
	job, st, err := pool.Start(wait, func(j jobs.Job) (err error) {
		ret, err = readLater(j, "Hello world!")
		return err
	})
	for st == jobs.StatusPaused {
		fmt.Println("Job was paused")
		fmt.Println("Waiting for the job to be woken up")
		if err = pollAll(wait); err != nil {
			fmt.Println(err)
			pool.CancelAll()
			return
		}
		st, err = job.Resume()
	}
	if st != jobs.StatusFinished || err != nil {
		fmt.Println(st, err)
		return
	}
	fmt.Println("Job finished with return value", ret)
	fmt.Println("Finishing")
	// Output:
	// Starting...
	// Executing within a job
	// Passed in message is: Hello world!
	// Job was paused
	// Waiting for the job to be woken up
	// Resumed the job after a pause
	// Job finished with return value 1
	// Finishing
}

// readLater returns the number of bytes it reads from a pipe. It pauses the
// job until there are some.
func readLater(j jobs.Job, message string) (int, error) {
	fmt.Println("Executing within a job")
	fmt.Println("Passed in message is:", message)

	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		return 0, err
	}
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return 0, err
	}
	closeEnds := func(_ *waitctx.WaitCtx, _ any, _ int, data any) {
		for _, fd := range data.([2]int) {
			unix.Close(fd)
		}
	}
	if err := j.WaitCtx().SetWaitFD("pipe", ends[0], ends, closeEnds); err != nil {
		closeEnds(nil, nil, 0, ends)
		return 0, err
	}

	// Some other thread, or a device, would do this when its work is done.
	if _, err := unix.Write(ends[1], []byte{'X'}); err != nil {
		return 0, err
	}
	for {
		if err := j.Pause(); err != nil {
			return 0, err
		}
		fmt.Println("Resumed the job after a pause")
		n, err := unix.Read(ends[0], make([]byte, 1))
		if err != unix.EAGAIN { // which it is after a spurious resume
			return n, err
		}
	}
}

// pollAll blocks until one of the descriptors in w is readable.
func pollAll(w *waitctx.WaitCtx) error {
	var fds []unix.PollFd
	for _, fd := range w.AllFDs(nil) {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			return err
		}
	}
}
