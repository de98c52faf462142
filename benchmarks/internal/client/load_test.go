//go:build linux

package client

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// fakeLoad makes a program that stands for tlsdemo: a shell script.
func fakeLoad(t *testing.T, script string) Load {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tlsdemo")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return Load{Program: program, CPU: process.AnyCPU}
}

func TestLoad(t *testing.T) {
	tests := []struct {
		name, script string
		want         string // in the error; none if empty
	}{
		{"all went well", `echo '{"handshakes": 7}'`, ""},
		{"handshakes failed", `echo '{"handshakes": 7, "errors": 3}'; exit 1`, ""},
		{"it could not begin", `echo 'no such server' >&2; exit 1`, "no such server"},
		{"wrong command line", `echo '{"handshakes": 7}'; echo 'unknown flag' >&2; exit 2`, "unknown flag"},
		{"ended early", `echo '{"handshakes": 7, "stopped": "out of descriptors"}'; exit 1`, "it ended early: out of descriptors, after 7 handshakes"},
		{"killed", `echo '{"handshakes": 7}'; kill -9 $$`, "killed"},
		{"no JSON", `echo hello`, `printed "hello\n"`},
		{"nothing", ``, "printed"},
	}
	for _, tt := range tests {
		res, err := fakeLoad(t, tt.script).Run(t.Context(), "host:1")
		if tt.want == "" && (err != nil || res.Handshakes != 7) {
			t.Errorf("%s: %+v, %v", tt.name, res, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if errors.Is(err, ErrLoad) != (tt.name == "it could not begin") || errors.Is(err, ErrEndedEarly) != (tt.name == "ended early") {
			t.Errorf("%s: %v is ErrLoad: %t, ErrEndedEarly: %t", tt.name, err, errors.Is(err, ErrLoad), errors.Is(err, ErrEndedEarly))
		}
	}
}

func TestLoadCommand(t *testing.T) {
	_, err := fakeLoad(t, `echo "$@, $GOMAXPROCS" >&2; exit 2`).Run(t.Context(), "--count", "5", "host:1")
	if want := "load --quiet --json - --count 5 host:1, 1"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestLoadEndsWithContext(t *testing.T) {
	why := errors.New("told to end")
	ctx, cancel := context.WithCancelCause(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	if out, err := exec.Command("mkfifo", started).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v %s", err, out)
	}
	go func() {
		os.ReadFile(started) // until the script writes
		cancel(why)
	}()
	_, err := fakeLoad(t, "echo > "+started+"\nexec cat /dev/zero >/dev/null").Run(ctx)
	if !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}
