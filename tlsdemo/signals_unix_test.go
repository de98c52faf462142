//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// Whoever does not read the output, and whatever blocks, the server serves and obeys
// signals.

// bothServers runs the test on event loops and on goroutines.
func bothServers(t *testing.T, f func(t *testing.T)) {
	t.Run("loops", f)
	t.Run("goroutines", func(t *testing.T) { onGoroutines(t); f(t) })
}

// unread returns a full pipe that nobody reads.
func unread(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	rc, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Write(func(fd uintptr) bool {
		for _, size := range []int{4096, 1} {
			for b := make([]byte, size); ; {
				if _, err := syscall.Write(int(fd), b); err != nil { // EAGAIN
					break
				}
			}
		}
		return true
	})
	return w
}

// unreadable returns a pipe whose reader has gone.
func unreadable(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	r.Close()
	return w
}

// mute is a server whose output the test does not read. Its address is a Unix socket,
// and its certificate is in files.
type mute struct {
	*served
	dir, socket string
	done        chan struct{}
}

// startMute starts a server and waits until it serves.
func startMute(t *testing.T, output func(*testing.T) *os.File, args ...string) *mute {
	t.Helper()
	dir := t.TempDir()
	m := &mute{dir: dir, socket: filepath.Join(dir, "socket"), done: make(chan struct{})}
	cert, key := writeCertificate(t, dir)
	cmd := program(t, append([]string{"serve", "--addr", "unix:" + m.socket, "--cert", cert, "--keyfile", key, "--verbose"}, args...)...)
	races := filepath.Join(dir, "races") // not to stderr, which may block
	cmd.Env = append(cmd.Env, stallAt+"="+m.stalled(), "GORACE=log_path="+races)
	cmd.Stdout, cmd.Stderr = output(t), output(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.served = &served{t: t, cmd: cmd}
	go func() { cmd.Wait(); close(m.done) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-m.done
		reports, _ := filepath.Glob(races + ".*")
		for _, name := range reports {
			report, _ := os.ReadFile(name)
			t.Errorf("the server's data races:\n%s", report)
		}
	})
	testkit.Eventually(t, "it listens", func() bool {
		c, err := net.Dial("unix", m.socket)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return m
}

func (m *mute) dial() *tls.Conn {
	m.t.Helper()
	c, err := net.Dial("unix", m.socket)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testkit.Patience))
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true})
}

func (m *mute) serial() string {
	m.t.Helper()
	c := m.dial()
	defer c.Close()
	if err := c.Handshake(); err != nil {
		m.t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// begin sends half a request.
func (m *mute) begin() (*tls.Conn, *bufio.Reader) {
	m.t.Helper()
	c := m.dial()
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		m.t.Fatal(err)
	}
	br := bufio.NewReader(c)
	if line, err := br.ReadString('\n'); !strings.Contains(line, "100 Continue") {
		m.t.Fatalf("%q, %v", line, err)
	}
	br.ReadString('\n')
	return c, br
}

// finish sends the rest of the request, and wants its answer.
func (m *mute) finish(c *tls.Conn, br *bufio.Reader) {
	m.t.Helper()
	io.WriteString(c, "abc")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		m.t.Fatalf("the request in progress got no answer: %v", err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "body: 3 bytes") {
		m.t.Errorf("body %q, %v", body, err)
	}
	c.Close()
}

func (m *mute) wantStatus(want int) {
	m.t.Helper()
	testkit.Receive(m.t, m.done)
	if got := m.cmd.ProcessState.String(); got != fmt.Sprint("exit status ", want) {
		m.t.Errorf("%s, want status %d", got, want)
	}
	if _, err := os.Lstat(m.socket); err == nil {
		m.t.Error("the socket file is still there")
	}
}

func (m *mute) wantNoListener() {
	m.t.Helper()
	testkit.Eventually(m.t, "it has stopped listening", func() bool { _, err := os.Lstat(m.socket); return err != nil })
}

// A server whose output nobody reads, or whose reader has gone, serves, reloads and
// drains.
func TestOutputOfServeIsNotRead(t *testing.T) {
	for name, output := range map[string]func(*testing.T) *os.File{"full": unread, "closed": unreadable} {
		t.Run(name, func(t *testing.T) {
			bothServers(t, func(t *testing.T) {
				s := startMute(t, output)
				first := s.serial()
				for range 50 { // each is logged
					c, err := net.Dial("unix", s.socket)
					if err != nil {
						t.Fatal(err)
					}
					io.WriteString(c, "no TLS, and not HTTP either\r\n\r\n")
					io.Copy(io.Discard, c)
					c.Close()
				}
				writeCertificate(t, s.dir)
				s.signal(syscall.SIGHUP)
				testkit.Eventually(t, "it has reloaded", func() bool { return s.serial() != first })
				c, br := s.begin()
				s.signal(syscall.SIGTERM)
				s.wantNoListener()
				s.signal(syscall.SIGHUP)
				s.finish(c, br)
				s.wantStatus(0)
			})
		})
	}
}

// A second signal ends the server at once, even if nobody reads its output, a request
// does not end, or a job keeps a loop's thread.
func TestSecondSignalWhateverBlocks(t *testing.T) {
	t.Run("request", func(t *testing.T) {
		bothServers(t, func(t *testing.T) {
			s := startMute(t, unread, "--drain-timeout", "1h", "--request-timeout", "1h")
			s.begin()
			s.signal(syscall.SIGTERM)
			s.signal(os.Interrupt)
			s.wantStatus(1)
		})
	})
	t.Run("thread", func(t *testing.T) {
		s := startMute(t, unread, "--drain-timeout", "1h")
		if err := os.WriteFile(s.stalled()+".on", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		go s.dial().Handshake()
		testkit.Eventually(t, "a job keeps the thread", func() bool { _, err := os.Stat(s.stalled()); return err == nil })
		s.signal(syscall.SIGTERM)
		s.signal(os.Interrupt)
		s.wantStatus(1)
	})
}

// stalled is a file that exists once a job keeps a loop's thread. See stallJobs.
func (m *mute) stalled() string { return filepath.Join(m.dir, "stalled") }

// pipeCert makes the certificate's file a named pipe, and returns what was in the file.
func pipeCert(t *testing.T, cert string) []byte {
	t.Helper()
	content, err := os.ReadFile(cert)
	if err == nil {
		err = os.Remove(cert)
	}
	if err == nil {
		err = syscall.Mkfifo(cert, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// openPipe opens a named pipe, and so waits until the server reads it.
func openPipe(t *testing.T, path string) *os.File {
	t.Helper()
	opened := make(chan *os.File, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	f := testkit.Receive(t, opened)
	t.Cleanup(func() { f.Close() })
	return f
}

// SIGTERM and SIGINT end a server that has not begun to serve, with status 0 and
// leaving nothing, whatever its start waits for.
func TestStopDuringStart(t *testing.T) {
	bothServers(t, func(t *testing.T) {
		for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
			dir := t.TempDir()
			cert, key := writeCertificate(t, dir)
			pipeCert(t, cert)
			s := start(t, program(t, "serve", "--addr", "unix:"+filepath.Join(dir, "socket"), "--cert", cert, "--keyfile", key))
			openPipe(t, cert)
			s.signal(sig)
			if status, errs := s.wait(); status != 0 || errs != "" {
				t.Errorf("%v: exit status %d, stderr: %s", sig, status, errs)
			}
			if _, err := os.Lstat(filepath.Join(dir, "socket")); err == nil {
				t.Error("there is a socket file")
			}
		}
	})
}

// The same while a key is made, which takes long. The signal may come at any time; a
// server that serves already drains.
func TestStopDuringKeyGeneration(t *testing.T) {
	s := startWithSignals(t, program(t, "serve", "--addr", "127.0.0.1:0", "--key", "rsa4096"))
	s.signal(syscall.SIGTERM)
	if status, errs := s.wait(); status != 0 || errs != "" {
		t.Errorf("exit status %d, stderr: %s", status, errs)
	}
}

// startWithSignals starts the program and waits until it catches SIGTERM.
func startWithSignals(t *testing.T, cmd *exec.Cmd) *served {
	t.Helper()
	s := start(t, cmd)
	path := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no /proc to tell")
	}
	// Whether Go's runtime or the program catches a signal cannot be seen from outside.
	// But the program ignores SIGPIPE right after it has asked for the others.
	testkit.Eventually(t, "it ignores SIGPIPE", func() bool {
		b, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(b), "SigIgn:")
		var mask uint64
		fmt.Sscanf(rest, "%x", &mask)
		return mask&(1<<(syscall.SIGPIPE-1)) != 0
	})
	return s
}

// SIGHUP before the server serves does not end it. The files are read again.
func TestHangupDuringStart(t *testing.T) {
	bothServers(t, func(t *testing.T) {
		cert, key := writeCertificate(t, t.TempDir())
		content := pipeCert(t, cert)
		s := start(t, program(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, "--cert", cert, "--keyfile", key)...))
		f := openPipe(t, cert)
		s.signal(syscall.SIGHUP)
		f.Write(content)
		f.Close()
		if line := s.line(); !strings.HasPrefix(line, "serving ") {
			errs, _ := io.ReadAll(s.stderr)
			t.Fatalf("%q, stderr: %s", line, errs)
		}
		f = openPipe(t, cert)
		f.Write(content)
		f.Close()
		if line := s.line(); !strings.HasPrefix(line, "reloaded ") {
			t.Errorf("%q", line)
		}
		s.stop()
	})
}

// A reload that waits for a file stops neither the server nor its end, and does not
// lose a further SIGHUP.
func TestReloadBlocks(t *testing.T) {
	bothServers(t, func(t *testing.T) {
		cert, key := writeCertificate(t, t.TempDir())
		s := serve(t, "--cert", cert, "--keyfile", key)
		first := s.serial()
		content := pipeCert(t, cert)
		s.signal(syscall.SIGHUP)
		f := openPipe(t, cert)
		s.signal(syscall.SIGHUP)
		if line := s.complaint(); !strings.Contains(line, "still being read") {
			t.Errorf("%q", line)
		}
		if s.serial() != first {
			t.Error("another certificate")
		}
		for range 2 {
			f.Write(content)
			f.Close()
			if line := s.line(); !strings.HasPrefix(line, "reloaded ") {
				t.Errorf("%q", line)
			}
			f = openPipe(t, cert)
			if s.signal(syscall.SIGHUP); !strings.Contains(s.complaint(), "still being read") {
				t.Error("a further SIGHUP is not told of")
			}
		}
		s.stop() // during a reload
	})
}

// A signal ends a run whose complaints nobody reads, and the result is written.
func TestLoadInterruptUnread(t *testing.T) {
	addr, had := dropping(t, 50)
	file := filepath.Join(t.TempDir(), "result.json")
	cmd := program(t, "load", addr, "--insecure", "--duration", "1h", "--warmup", "0s", "--connections", "4", "--max-errors", "1000000", "--json", file)
	cmd.Stdout, cmd.Stderr = io.Discard, unread(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-done })
	<-had
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(testkit.Patience):
		t.Fatal("the run goes on")
	}
	if _, err := os.Stat(file); err != nil || cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%v, %v", cmd.ProcessState, err)
	}
}
