//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestComparisons(t *testing.T) {
	got := fmt.Sprint(comparisons([]string{nameMultibuffer, nameNginx, nameJobloop, nameGoroutines}))
	want := "[[jobloop-multibuffer nginx] [jobloop-multibuffer jobloop] [jobloop-multibuffer goroutines] [jobloop nginx] [jobloop goroutines]]"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := comparisons([]string{nameNginx, nameGoroutines}); got != nil {
		t.Errorf("peers are compared: %v", got)
	}
}

func TestRunnable(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	can, notes, err := runnableOrError([]string{nameMultibuffer, nameNginx, nameGoroutines, nameHAProxy}, "ecdsa-p256")
	if err != nil || fmt.Sprint(can) != "[goroutines]" || len(notes) != 3 || !strings.HasPrefix(notes[0], "jobloop-multibuffer: SKIPPED: ") || !strings.HasPrefix(notes[1], "nginx: SKIPPED: ") || !strings.HasPrefix(notes[2], "haproxy: SKIPPED: ") {
		t.Errorf("%v, %q, %v", can, notes, err)
	}
	if _, _, err := runnableOrError([]string{nameNginx}, "rsa2048"); err == nil || !strings.Contains(err.Error(), "nginx: SKIPPED") {
		t.Errorf("error %v", err)
	}
}

// An interrupted run kills its servers; that they did not end well is no fault of
// theirs. Otherwise it is.
func TestWith(t *testing.T) {
	var o serverOptions
	c := fakeServer(t, "x", &o)
	wrong := errors.New("wrong")
	kill := func(s *server) error {
		err := s.cmd.Process.Kill()
		<-s.exited
		return err
	}
	if err := c.with(t.Context(), serverOptions{cpu: -1}, kill); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("of a server that was killed: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.with(ctx, serverOptions{cpu: -1}, func(s *server) error {
		cancel()
		<-s.exited
		return wrong
	})
	if err != wrong {
		t.Errorf("of a run that was interrupted: error %v, want %v", err, wrong)
	}
}

// Our server must not be measured with another engine than the one it is named
// after. This one, a shell script, says that it has none.
func TestEngineIsChecked(t *testing.T) {
	program := t.TempDir() + "/tlsdemo"
	script := "#!/bin/sh\necho \"serving https://127.0.0.1:4433 (loops: 1, certificate); engine: none (RSA key, but)\"\nexec sleep 60\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := k.certificate()
	if err != nil {
		t.Fatal(err)
	}
	_, err = jobloop(nameOffload, program).start(t.Context(), serverOptions{cert: cert, cpu: -1})
	if err == nil || !strings.Contains(err.Error(), "without the engine offload") {
		t.Errorf("error %v", err)
	}
	s, err := jobloop(nameJobloop, program).start(t.Context(), serverOptions{cert: cert, cpu: -1})
	if err != nil {
		t.Fatal(err)
	}
	if s.addr != "127.0.0.1:4433" {
		t.Errorf("address %q", s.addr)
	}
	s.stop()
}
