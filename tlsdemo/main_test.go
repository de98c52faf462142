package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jobloop/jobloop/internal/version"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// asProgram is the environment variable that makes the test binary run as the program.
const asProgram = "TLSDEMO_TEST_AS_PROGRAM"

// stallAt is the environment variable that names a file. If there is one of this name
// with ".on" behind it, the next job of the program that wants random bytes makes the file
// and keeps its thread for ever.
const stallAt = "TLSDEMO_TEST_STALL_AT"

func stallJobs(path string) {
	random := rand.Reader
	rand.Reader = readerFunc(func(p []byte) (int, error) {
		if _, inside := jobs.Current(); inside {
			if _, err := os.Stat(path + ".on"); err == nil {
				os.WriteFile(path, nil, 0o600)
				select {}
			}
		}
		return random.Read(p)
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if path := os.Getenv(stallAt); path != "" {
			stallJobs(path)
		}
		main()
	}
	os.Exit(m.Run())
}

// serveFlags are given to each "tlsdemo serve" that a test starts.
var serveFlags []string

// program returns the command that runs the program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if l, err := loop.New(loop.Config{}); errors.Is(err, loop.ErrUnsupported) {
		t.Skip(err)
	} else if err == nil {
		l.Close()
	}
	if len(args) > 0 && args[0] == "serve" {
		args = slices.Concat(args[:1], serveFlags, args[1:])
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1",
		// Programs built with -race sleep a second before they exit.
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	return cmd
}

// output runs the program to its end.
func output(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := program(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// served is a running "tlsdemo serve".
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *bufio.Reader
	first  string // first line of its output
	addr   string // HOST:PORT
}

// serve starts "tlsdemo serve" on a free port. If the test does not stop it, it is killed
// at the end of the test.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	s := start(t, program(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...))
	s.first = s.line()
	rest, ok := strings.CutPrefix(s.first, "serving https://")
	s.addr, _, _ = strings.Cut(rest, " ")
	if !ok {
		errs, _ := io.ReadAll(s.stderr)
		t.Fatalf("does not serve: %s", errs)
	}
	return s
}

func start(t *testing.T, cmd *exec.Cmd) *served {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return &served{t: t, cmd: cmd, stdout: bufio.NewReader(stdout), stderr: bufio.NewReader(stderr)}
}

// line reads a line of the program's output.
func (s *served) line() string { l, _ := s.stdout.ReadString('\n'); return l }

// complaint reads a line of the program's stderr.
func (s *served) complaint() string { l, _ := s.stderr.ReadString('\n'); return l }

func (s *served) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the program to end. It returns the exit status and the rest of stderr.
func (s *served) wait() (status int, stderr string) {
	errs, _ := io.ReadAll(s.stderr)
	io.Copy(io.Discard, s.stdout)
	s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode(), string(errs)
}

// stop stops the program and checks that it ends well.
func (s *served) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if status, errs := s.wait(); status != 0 || errs != "" {
		s.t.Errorf("exit status %d after SIGTERM; stderr: %s", status, errs)
	}
}

// dial connects to the program.
func (s *served) dial() *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"demo", "--help"}, {"serve", "--help"}, {"load", "--help"}} {
		status, out, errs := output(t, args...)
		if status != 0 || errs != "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "(default") {
			t.Errorf("%v: status %d, stderr %q, stdout:\n%s", args, status, errs, out)
		}
	}
}

// The same text is in the results of "tlsdemo load".
func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"serve", "--version"}} {
		status, out, errs := output(t, args...)
		want := "tlsdemo (devel)" // a test binary has no version
		if status != 0 || errs != "" || out != "tlsdemo "+version.String()+"\n" || !strings.HasPrefix(out, want) || !strings.Contains(out, runtime.Version()) {
			t.Errorf("%v: status %d, stderr %q, stdout %q", args, status, errs, out)
		}
	}
}

func TestErrorLines(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	cert1, key1 := writeCertificate(t, t.TempDir())
	_, key2 := writeCertificate(t, t.TempDir())
	for _, test := range []struct {
		args   string
		status int
		names  string // what the line must contain
	}{
		{"--nonsense", 2, "--nonsense"},
		{"nonsense", 2, "nonsense"},
		{"--key nonsense", 2, "--key"},
		{"--clients 0", 2, "--clients"},
		{"--duration 0s", 2, "--duration"},
		{"--handshakes -1", 2, "--handshakes"},
		{"--engine nonsense", 2, "--engine"},
		{"serve --engine nonsense", 2, "multibuffer"},
		{"serve --engine-workers -1", 2, "--engine-workers"},
		{"serve --engine-workers 2", 2, "--engine offload"},
		{"serve --engine none --engine-on-worker", 2, "--engine multibuffer"},
		{"serve --key nonsense", 2, "rsa2048"},
		{"serve --tls-min 1.1", 2, "--tls-min"},
		{"serve --loops 0", 2, "--loops"},
		{"serve --max-jobs 0", 2, "--max-jobs"},
		{"serve --backlog -1", 2, "--backlog"},
		{"serve --idle-timeout soon", 2, "--idle-timeout"},
		{"serve --request-timeout 0s", 2, "--request-timeout"},
		{"serve --addr nonsense", 2, "--addr"},
		{"serve --addr 127.0.0.1:70000", 2, "70000"},
		{"serve --addr unix:", 2, "--addr"},
		{"serve --metrics nonsense", 2, "--metrics"},
		{"serve --pprof", 2, "--metrics"},
		{"serve --cert x", 2, "--keyfile"},
		{"serve --keyfile x", 2, "--cert"},
		{"serve --key ed25519 --cert x --keyfile y", 2, "--key"},
		{"serve --cert /nonexistent/c --keyfile " + key1, 1, "/nonexistent/c"},
		{"serve --cert " + cert1 + " --keyfile /nonexistent/k", 1, "/nonexistent/k"},
		{"serve --cert " + cert1 + " --keyfile " + key2, 1, key2},
		{"serve --key ed25519 --addr " + busy.Addr().String(), 1, busy.Addr().String()},
		{"serve --key ed25519 --loops 2 --addr " + busy.Addr().String(), 1, busy.Addr().String()},
		{"serve --key ed25519 --addr 127.0.0.1:0 --metrics " + busy.Addr().String(), 1, busy.Addr().String()},
		{"serve --key ed25519 --addr unix:/nonexistent/s", 1, "/nonexistent/s"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			status, out, errs := output(t, strings.Fields(test.args)...)
			if status != test.status || out != "" || strings.Count(errs, "\n") != 1 ||
				!strings.HasPrefix(errs, "tlsdemo: ") || !strings.Contains(errs, test.names) {
				t.Errorf("status %d, want %d; stdout %q; stderr %q, want one line with %q",
					status, test.status, out, errs, test.names)
			}
		})
	}
}
