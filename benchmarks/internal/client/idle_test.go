//go:build linux

package client

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// While f runs, all connections are there, and each was used; afterwards each is
// used again.
func TestHold(t *testing.T) {
	var open, messages atomic.Int64
	counting := func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		b := make([]byte, idleSize)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			messages.Add(1)
			c.Write(b)
		}
	}
	const n = 50
	for _, over := range []bool{false, true} {
		messages.Store(0)
		err := Hold(t.Context(), process.AnyCPU, serving(t, over, counting), n, Established, func() error {
			if open.Load() < n || messages.Load() != n {
				t.Errorf("%d connections, %d messages", open.Load(), messages.Load())
			}
			return nil
		})
		if err != nil || messages.Load() != 2*n {
			t.Errorf("%d messages in all, %v", messages.Load(), err)
		}
	}
	_, answers := answering(t)
	if err := Hold(t.Context(), process.AnyCPU, answers, 3, Established, func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestHoldFails(t *testing.T) {
	wrong := errors.New("wrong")
	echoes := serving(t, false, echoing)
	if err := Hold(t.Context(), process.AnyCPU, echoes, 1, Established, func() error { return wrong }); err != wrong {
		t.Errorf("error %v, want %v", err, wrong)
	}
	end := make(chan struct{})
	once := serving(t, false, func(c net.Conn) {
		io.CopyN(c, c, idleSize)
		<-end // its client is idle
	})
	err := Hold(t.Context(), process.AnyCPU, once, 1, Established, func() error { close(end); return nil })
	if err == nil || !strings.Contains(err.Error(), "after the idle time: connection 0: ") {
		t.Errorf("of a connection that has ended meanwhile: error %v", err)
	}
	err = Hold(t.Context(), process.AnyCPU, Target{Addr: echoes.Addr, SHA256: "00"}, 1, Established, func() error { t.Error("called"); return nil })
	if err == nil || !strings.Contains(err.Error(), "connection 0: handshake: ") {
		t.Errorf("of connections that do not open: error %v", err)
	}
}

// After an error no more connections are opened.
func TestEach(t *testing.T) {
	var calls atomic.Int64
	if err := each(1000, func(int) error { calls.Add(1); return nil }); err != nil || calls.Load() != 1000 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	calls.Store(0)
	err := each(100_000, func(i int) error { calls.Add(1); return errors.New("wrong") })
	if err == nil || !strings.HasSuffix(err.Error(), ": wrong") || calls.Load() == 100_000 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}
