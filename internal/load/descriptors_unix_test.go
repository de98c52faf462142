//go:build unix

package load

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This file tests what happens when the process runs out of file descriptors.

func TestTooManyConnections(t *testing.T) {
	s := serveTLS(t, nil, nil)
	cfg := closedConfig(s)
	cfg.Connections = 1 << 30
	if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrDescriptors) {
		t.Errorf("error %v, want ErrDescriptors", err)
	}
	want(t, "connections to the server", s.accepted.Load(), 0)

	limit, err := descriptorLimit()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the most connections", MaxConnections(), limit-spareDescriptors)
	if err := checkDescriptors(MaxConnections()); err != nil {
		t.Error(err)
	}
	if checkDescriptors(MaxConnections()+1) == nil {
		t.Error("one more is as good")
	}
}

// A run ends when the client runs out of descriptors. Otherwise it would count its own
// failures.
func TestOutOfDescriptors(t *testing.T) {
	s := serveTLS(t, nil, nil)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore) // runs before serve's cleanup, which looks at descriptors
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration = 0, time.Hour
	cfg.Timeout = time.Second // for connections that the server cannot accept
	cfg.Progress = func(Progress) {
		// Open files stay open. Only new ones are refused.
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max})
	}
	res := mustRun(t, t.Context(), cfg)
	restore()
	want(t, "stopped", res.Stopped, "out of descriptors")
	if res.ErrorsByKind[kindDescriptors] == 0 || res.Handshakes == 0 {
		t.Errorf("%d handshakes, errors %v", res.Handshakes, res.ErrorsByKind)
	}
	if w := strings.Join(res.Warnings, "\n"); !strings.Contains(w, "ulimit") {
		t.Errorf("warnings %q, want one that has a remedy", w)
	}
}
