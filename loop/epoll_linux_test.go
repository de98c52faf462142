package loop

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// Before Linux 5.11 waits are in milliseconds, and must not end early either.
func TestPollerCoarseTimeouts(t *testing.T) {
	p := newTestPoller(t)
	p.coarse = true
	var events [4]event
	for _, timeout := range []time.Duration{1, 1500 * time.Microsecond, 3 * time.Millisecond} {
		start := time.Now()
		n, err := p.wait(events[:], timeout)
		if d := time.Since(start); n != 0 || err != nil || d < timeout {
			t.Errorf("wait(%v) = %d, %v after %v", timeout, n, err, d)
		}
	}
	if err := p.wake(); err != nil {
		t.Fatal(err)
	}
	if n, err := p.wait(events[:], 1<<63-1); n != 0 || err != nil {
		t.Errorf("wait for 292 years, woken = %d, %v", n, err)
	}
}

func TestBacklog(t *testing.T) {
	for _, test := range []struct{ set, want int }{{7, 7}, {1, 1}} {
		l, err := New(Config{Backlog: test.set})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(context.Context, *Conn) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		info, err := unix.GetsockoptTCPInfo(n.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.Sacked != uint32(test.want) { // of a listening socket, its backlog
			t.Errorf("Backlog %d: the kernel has %d", test.set, info.Sacked)
		}
	}
}

// A job that waits for the loop's own descriptors, by a wrong number, does not make it deaf.
func TestWatchOfTheLoopItself(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	for _, fd := range []int{l.poller.fd, l.poller.wakeFD} {
		paused := make(chan bool)
		if err := l.Go(func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			if err := j.WaitCtx().SetWaitFD("own", fd, nil, nil); err != nil {
				return err
			}
			defer j.WaitCtx().ClearFD("own")
			close(paused)
			return j.Pause()
		}); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, paused)
		for range 100 {
			called := make(chan bool)
			if err := l.Post(func() { close(called) }); err != nil {
				t.Fatal(err)
			}
			testkit.Receive(t, called)
		}
	}
	l.Close()
	testkit.Receive(t, ran)
}
