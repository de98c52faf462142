package load

import (
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests clients whose connection the server's kernel does not even accept.

// fullBacklog is a listener that accepts one connection, the probe. After that its
// backlog is full, and Linux drops further SYNs.
type fullBacklog struct {
	net.Listener
	t        *testing.T
	over     *gate
	accepted bool
}

func (f *fullBacklog) Accept() (net.Conn, error) {
	if f.accepted {
		f.over.wait()
		return nil, net.ErrClosed
	}
	f.accepted = true
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for range 2 { // Linux takes one more than the backlog
		waiting, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			f.t.Error(err)
			break
		}
		f.t.Cleanup(func() { waiting.Close() })
	}
	return c, nil
}

// A client's patience also counts while it connects and its SYN is sent again and again.
func TestGivingUpWhileConnecting(t *testing.T) {
	testkit.CheckLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 1) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	over := newGate()
	s := serveOn(t, &fullBacklog{Listener: ln, t: t, over: over}, func(s *server, raw net.Conn) {
		c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{serverCert()}})
		if c.Handshake() == nil {
			s.answer(c)
		}
	})
	t.Cleanup(over.let) // the server waits for its Accept to return
	cfg := impatient(s, everyone(100*time.Millisecond, 200*time.Millisecond))
	res := mustRun(t, t.Context(), cfg)
	wantGaveUp(t, &cfg, res, cfg.Count)
	want(t, "bytes written", res.BytesWritten, 0)
	if example := res.ErrorExamples[kindGaveUp]; !strings.HasPrefix(example, "connect: the client gave up after ") {
		t.Errorf("example %q", example)
	}
}
