//go:build linux

package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeSystem has some programs and files, and gets others from packages.
type fakeSystem struct {
	has     []string
	root    bool
	gives   map[string]string // packages, and what they bring
	running []string          // services
	fails   string            // a part of a command
	ran     []string
	said    []string
}

func (f *fakeSystem) system() system {
	return system{
		has:    func(what string) bool { return slices.Contains(f.has, what) },
		isRoot: f.root,
		run: func(_ context.Context, command ...string) error {
			line := strings.Join(command, " ")
			if service, ok := strings.CutSuffix(strings.TrimPrefix(line, "service "), " status"); ok { // it only asks
				if slices.Contains(f.running, service) {
					return nil
				}
				return errors.New("exit status 3")
			}
			f.ran = append(f.ran, line)
			if f.fails != "" && strings.Contains(line, f.fails) {
				return errors.New("exit status 100")
			}
			if slices.Contains(command, "install") {
				for _, p := range command {
					if name, ok := f.gives[p]; ok {
						f.has = append(f.has, name)
					}
				}
			}
			return nil
		},
		say: func(format string, args ...any) { f.said = append(f.said, fmt.Sprintf(format, args...)) },
	}
}

var (
	everything = []string{"nginx", "haproxy", "wrk", "openssl", "cc", "/usr/include/openssl/async.h"}
	debian     = map[string]string{"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "openssl": "openssl", "gcc": "cc", "libssl-dev": "/usr/include/openssl/async.h"}
)

// tails are the commands without apt-get's options.
func tails(commands []string) []string {
	var all []string
	for _, c := range commands {
		if strings.HasPrefix(c, "apt-get ") {
			fields := strings.Fields(c)
			i := slices.IndexFunc(fields, func(s string) bool { return s == "update" || s == "install" })
			c = "apt-get " + strings.Join(fields[i:], " ")
		}
		all = append(all, c)
	}
	return all
}

func TestInstall(t *testing.T) {
	const install = "apt-get install --yes --no-install-recommends "
	tests := []struct {
		name string
		fake fakeSystem
		ran  []string // without apt-get's options
		said string   // among other things
		err  string
	}{
		{name: "nothing is missing", fake: fakeSystem{has: everything}, said: "nothing is missing"},
		{
			name: "only what is missing",
			fake: fakeSystem{has: []string{"apt-get", "nginx", "openssl", "cc"}, root: true},
			ran:  []string{"apt-get update", install + "haproxy", install + "wrk", install + "libssl-dev"},
			said: "Timeout=60 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 install --yes --no-install-recommends libssl-dev",
		},
		{
			name: "the compiler with the C library's headers",
			fake: fakeSystem{has: append([]string{"apt-get"}, slices.DeleteFunc(slices.Clone(everything), func(s string) bool { return s == "cc" })...), root: true},
			ran:  []string{"apt-get update", install + "gcc libc6-dev"},
		},
		{
			name: "no root",
			fake: fakeSystem{has: []string{"apt-get", "nginx", "haproxy", "openssl", "cc", "/usr/include/openssl/async.h"}},
			err:  "--install needs root; run this, and then the benchmarks without it: sudo apt-get update && sudo apt-get install --no-install-recommends wrk",
		},
		{
			name: "no Debian",
			fake: fakeSystem{has: everything[2:], root: true},
			err:  "--install needs apt-get (Debian, Ubuntu), which is not here; install with this system's means what Debian calls nginx haproxy",
		},
		{
			name: "no network",
			fake: fakeSystem{has: append([]string{"apt-get"}, everything[1:]...), root: true, fails: "update"},
			ran:  []string{"apt-get update"},
			err:  "update: exit status 100",
		},
		{
			name: "a package that apt does not have",
			fake: fakeSystem{has: append([]string{"apt-get"}, everything[3:]...), root: true, fails: "wrk"},
			ran:  []string{"apt-get update", install + "nginx", install + "haproxy", install + "wrk"},
			said: "still missing, so that some scenarios or servers will be skipped: wrk",
		},
		{
			name: "a service that was started",
			fake: fakeSystem{has: append([]string{"apt-get"}, everything[2:]...), root: true, running: []string{"nginx"}},
			ran:  []string{"apt-get update", install + "nginx", "service nginx stop", install + "haproxy"},
			said: "its package has started the service nginx",
		},
		{
			name: "a service that does not stop",
			fake: fakeSystem{has: append([]string{"apt-get"}, everything[2:]...), root: true, running: []string{"nginx"}, fails: "stop"},
			ran:  []string{"apt-get update", install + "nginx", "service nginx stop", install + "haproxy"},
			err:  "service nginx stop: exit status 100",
		},
		{
			name: "a service that ran before",
			fake: fakeSystem{has: append([]string{"apt-get", "nginx"}, everything[2:]...), root: true, running: []string{"nginx"}},
			ran:  []string{"apt-get update", install + "haproxy"},
		},
	}
	for _, tt := range tests {
		tt.fake.gives = debian
		err := installMissing(t.Context(), tt.fake.system())
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
		if got := tails(tt.fake.ran); !slices.Equal(got, tt.ran) {
			t.Errorf("%s: ran %q, want %q", tt.name, got, tt.ran)
		}
		said := strings.Join(tt.fake.said, "\n")
		if !strings.Contains(said, tt.said) {
			t.Errorf("%s: said\n%s\nwant %q", tt.name, said, tt.said)
		}
		for _, c := range tt.fake.ran {
			if !strings.Contains(said, c) {
				t.Errorf("%s: does not say that it runs %s", tt.name, c)
			}
		}
	}
}

// A program is looked for in the PATH, a file where it is.
func TestHas(t *testing.T) {
	for what, want := range map[string]bool{"sh": true, "no-such-program": false, "/etc/passwd": true, "/etc/no-such-file": false} {
		if has(what) != want {
			t.Errorf("%s is there: %t", what, !want)
		}
	}
}

// A command that goes on is told to end, and its end is awaited.
func TestRunCommand(t *testing.T) {
	if err := runCommand(t.Context(), "sh", "-c", `test "$DEBIAN_FRONTEND" = noninteractive`); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/ready", 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	go func() {
		os.ReadFile(dir + "/ready") // waits for the command
		cancel(enough)
	}()
	err := runCommand(ctx, "sh", "-c", `cd "$0" && trap 'echo > told; exit 1' INT && echo > ready; while :; do sleep 0.01; done`, dir)
	if !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir + "/told"); err != nil {
		t.Errorf("it was not told to end: %v", err)
	}
}
