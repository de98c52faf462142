//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Every peer does what it says that it can, with the certificate it was given,
// frees memory when it is told to, and ends when it is told to.
func TestPeersSpeak(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		p := peers[name]
		if p.Name() != name || len(p.Speaks()) == 0 {
			t.Errorf("%s calls itself %s, and speaks %v", name, p.Name(), p.Speaks())
		}
		for _, protocol := range p.Speaks() {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				o := options(t, keyFor(t, p))
				o.Protocol, o.Free = protocol, true
				err := With(t.Context(), p, o, func(s *Server) error {
					err := talk(t, s)
					if err != nil {
						return err
					}
					if _, inGo := p.(*goPeer); inGo != (s.Free != nil) {
						t.Errorf("it can be told to free memory: %t", s.Free != nil)
					}
					if s.Free != nil {
						err = s.Free(t.Context())
					}
					if n, rerr := process.RSS(s.PID()); n == 0 || rerr != nil {
						t.Errorf("its memory is %d, %v", n, rerr)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// talk connects to a server and has it do what its protocol is, twice.
func talk(t *testing.T, s *Server) error {
	t.Helper()
	if s.Protocol == GRPC {
		state, err := checkHealth(t.Context(), dialGRPC(t, s, 0, nil), s, 2)
		if err == nil && state.NegotiatedProtocol != "h2" {
			t.Errorf("it chose the protocol %q", state.NegotiatedProtocol)
		}
		return err
	}
	c, err := s.Target().Dial(t.Context(), new(net.Dialer)) // it compares the certificate
	if err != nil {
		return err
	}
	defer c.Close()
	if _, over := c.(*tls.Conn); over != (s.Protocol != PlainEcho) {
		t.Errorf("the connection is a %T", c)
	}
	if s.Protocol == HTTPS {
		return ask(c, 2)
	}
	return errors.Join(echo(c), echo(c))
}

// visit makes a connection and requests, with a version of TLS and, if there are
// some, a session. It says whether that was resumed.
func visit(t *testing.T, s *Server, version uint16, sessions tls.ClientSessionCache, requests int) (resumed bool, err error) {
	t.Helper()
	if s.Protocol == GRPC {
		c := dialGRPC(t, s, version, sessions)
		defer c.Close()
		state, err := checkHealth(t.Context(), c, s, requests)
		if err == nil && state.Version != version {
			t.Errorf("it chose %s", tls.VersionName(state.Version))
		}
		return state.DidResume, err
	}
	c := dialTLS(t, s.Addr, version, sessions)
	defer c.Close()
	return c.ConnectionState().DidResume, ask(c, requests)
}

// Every peer counts what a client did: full handshakes and resumed ones, in both
// versions, and requests.
func TestPeersCount(t *testing.T) {
	for _, name := range Names(HTTPS, GRPC) {
		t.Run(name, func(t *testing.T) {
			p := peers[name]
			o := options(t, keyFor(t, p))
			o.Protocol = Speak(p, HTTPS, GRPC)
			o.Tickets, o.Metrics = true, true
			err := With(t.Context(), p, o, func(s *Server) error {
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					before, err := s.Counts(t.Context())
					if err != nil {
						return err
					}
					sessions := tls.NewLRUClientSessionCache(1)
					for range 3 {
						if _, err := visit(t, s, version, sessions, 2); err != nil {
							return err
						}
					}
					after, err := s.Counts(t.Context())
					if got := after.Since(before); err != nil || got != (Counts{3, 3, 2, 6}) {
						t.Errorf("%s: %+v, %v", tls.VersionName(version), got, err)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Without tickets no session is resumed.
func TestPeersDoNotResume(t *testing.T) {
	for _, name := range []string{"goroutines", "gnetjobs", "nethttp", "fasthttp", "grpc", "nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) {
			o := options(t, keyFor(t, peers[name]))
			o.Protocol = Speak(peers[name], HTTPS, GRPC)
			err := With(t.Context(), peers[name], o, func(s *Server) error {
				sessions := tls.NewLRUClientSessionCache(1)
				for range 2 {
					resumed, err := visit(t, s, tls.VersionTLS13, sessions, 1)
					if err != nil {
						return err
					}
					if resumed {
						t.Error("a session was resumed")
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// The servers close a connection that has been idle for too long. Those whose
// handler is gnet's do not: gnetjobs leaves the time between events to the handler.
func TestIdleTimeout(t *testing.T) {
	for _, name := range Names(HTTPS) {
		if name == "gnetjobs" || name == "gnetjobs-multibuffer" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, keyFor(t, peers[name]))
			o.IdleTimeout = 2 * time.Second
			err := With(t.Context(), peers[name], o, func(s *Server) error {
				c := dialTLS(t, s.Addr, tls.VersionTLS13, nil)
				defer c.Close()
				if err := ask(c, 1); err != nil {
					return err
				}
				if _, err := io.Copy(io.Discard, c); err != nil { // until the idle timeout
					t.Errorf("at the end: %v", err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// With more threads, nginx has workers beside its master.
func TestThreads(t *testing.T) {
	for _, name := range []string{"jobloop", "goroutines", "nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) {
			o := options(t, keyFor(t, peers[name]))
			o.Threads = 2
			err := With(t.Context(), peers[name], o, func(s *Server) error {
				for range 10 {
					c := dialTLS(t, s.Addr, tls.VersionTLS13, nil)
					if err := ask(c, 1); err != nil {
						return err
					}
					c.Close()
				}
				if used, err := process.FamilyCPU(s.PID()); used == 0 || err != nil {
					t.Errorf("it used %v, %v", used, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	if got := Names(TLSEcho, PlainEcho); !slices.IsSorted(got) || !slices.Contains(got, "gnet") || !slices.Contains(got, "goroutines") || slices.Contains(got, "nginx") {
		t.Error(got)
	}
	if got := Names(HTTPS); slices.Contains(got, "gnet") || slices.Contains(got, "grpc") || !slices.Contains(got, "jobloop") {
		t.Error(got)
	}
	if got := Names(GRPC); !slices.Equal(got, []string{"grpc", "grpc-multibuffer"}) {
		t.Error(got)
	}
	for name, want := range map[string]bool{"jobloop": true, "gnetjobs-job": true, "grpc-multibuffer": true, "grpc": false, "gnet": false, "nginx": false, "nobody": false} {
		if Ours(name) != want {
			t.Errorf("%s is ours: %t", name, !want)
		}
	}
}

func TestSpeak(t *testing.T) {
	for want, wanted := range map[Protocol][]Protocol{HTTPS: {HTTPS, TLSEcho}, TLSEcho: {PlainEcho, TLSEcho, HTTPS}, "": {PlainEcho}} {
		if got := Speak(peers["gnetjobs"], wanted...); got != want {
			t.Errorf("of %q it speaks %q, want %q", wanted, got, want)
		}
	}
}

func TestRunnable(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	can, notes := Runnable([]string{"jobloop-multibuffer", "nginx", "goroutines", "haproxy", "nobody"}, "ecdsa-p256")
	if len(can) != 1 || can[0].Name() != "goroutines" || len(notes) != 4 {
		t.Fatalf("%v, %q", can, notes)
	}
	for i, want := range []string{"jobloop-multibuffer: SKIPPED: ", "nginx: SKIPPED: ", "haproxy: SKIPPED: ", "nobody: SKIPPED: there is no such peer."} {
		if !strings.HasPrefix(notes[i], want) {
			t.Errorf("%q, want %q", notes[i], want)
		}
	}
}

// An interrupted run kills its servers; that they did not end well is no fault of
// theirs. Otherwise it is. Nothing is left open.
func TestWith(t *testing.T) {
	p, o := peers["goroutines"], options(t, "ecdsa-p256")
	wrong := errors.New("wrong")
	die := func(s *Server) error {
		err := s.cmd.Process.Kill()
		<-s.exited
		return err
	}
	if err := With(t.Context(), p, o, die); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("of a server that was killed: error %v", err)
	}
	before, err := process.Descriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = With(ctx, p, o, func(s *Server) error {
		cancel()
		<-s.exited
		return wrong
	})
	if err != wrong {
		t.Errorf("of a run that was interrupted: error %v, want %v", err, wrong)
	}
	if err := With(t.Context(), p, o, func(*Server) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
	if after, err := process.Descriptors(os.Getpid()); after != before || err != nil {
		t.Errorf("%d descriptors before, %d after, %v", before, after, err)
	}
}

// Why a server does not start is what it writes to standard error.
func TestServerDoesNotStart(t *testing.T) {
	for _, name := range []string{"goroutines", "jobloop", "nginx", "haproxy"} {
		t.Run(name, func(t *testing.T) {
			o := options(t, keyFor(t, peers[name]))
			if err := os.WriteFile(o.Cert.File, []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := With(t.Context(), peers[name], o, func(*Server) error { return errors.New("it has started") })
			if err == nil || !strings.HasPrefix(err.Error(), name+" ended before it listened: exit status ") || !strings.Contains(err.Error(), filepath.Base(o.Cert.File)) && name != "goroutines" {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Our server must not be measured with another engine than the one it is named
// after. This one, a shell script, says that it has none.
func TestEngineIsChecked(t *testing.T) {
	o := options(t, "ecdsa-p256")
	o.Tlsdemo = filepath.Join(o.Dir, "fake")
	script := "#!/bin/sh\ntrap 'exit 0' TERM\necho \"serving https://127.0.0.1:4433 (loops: 1, certificate); engine: none (RSA key, but)\"\nwhile :; do sleep 0.05; done\n"
	if err := os.WriteFile(o.Tlsdemo, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	started := func(s *Server) error {
		if s.Addr != "127.0.0.1:4433" {
			t.Errorf("address %q", s.Addr)
		}
		return nil
	}
	if err := With(t.Context(), peers["jobloop-offload"], o, started); err == nil || !strings.Contains(err.Error(), "without the engine offload") {
		t.Errorf("error %v", err)
	}
	if err := With(t.Context(), peers["jobloop"], o, started); err != nil {
		t.Error(err)
	}
}

// The address may come in pieces, and after other lines.
func TestListenLine(t *testing.T) {
	said := make(chan string, 1)
	l := &listenLine{said: said}
	for _, piece := range []string{"hello\nserving https://127.", "0.0.1:80", "80 (one)\nand 127.0.0.1:9\n", "more\n"} {
		if n, err := l.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Errorf("%d, %v of %q", n, err, piece)
		}
	}
	if got := <-said; got != "serving https://127.0.0.1:8080 (one)" {
		t.Errorf("%q", got)
	}
}

// A server that leaves a child with its output does not keep the run waiting.
func TestServerThatIsAScript(t *testing.T) {
	o := options(t, "ecdsa-p256")
	script := o.Dir + "/tlsdemo"
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsleep 60 &\necho $! > "+o.Dir+"/pid\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := start(t.Context(), "script", o, "", script)
	if err == nil || !strings.Contains(err.Error(), "ended before it listened") {
		t.Errorf("error %v", err)
	}
	b, err := os.ReadFile(o.Dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
}
