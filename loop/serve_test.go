package loop_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// filter is a listener as many servers have one: its Accept refuses clients.
type filter struct{ *net.TCPListener }

// wrapper has no descriptor.
type wrapper struct{ net.Listener }

// stillListens proves that ln is open, and accepts.
func stillListens(t *testing.T, ln net.Listener) {
	t.Helper()
	accepted := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		ln.Close()
		t.Errorf("a listener that was refused is not open: %v", err)
	} else {
		defer c.Close()
	}
	if aerr := testkit.Receive(t, accepted); aerr != nil && err == nil {
		t.Errorf("Accept of a listener that was refused: %v", aerr)
	}
}

// A loop polls a listener's socket, so it refuses those whose Accept it would bypass. They
// stay open.
func TestServeRefuses(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	g := newGroup(t, 2, loop.Config{})
	serves := map[string]func(net.Listener) error{
		"Loop":  func(ln net.Listener) error { _, err := l.Serve(ln, echo); return err },
		"Group": func(ln net.Listener) error { _, err := g.Serve(ln, echo); return err },
		"TLSListenConfig": func(ln net.Listener) error {
			n, err := (&loop.TLSListenConfig{TLS: serverConfig()}).Serve(ln)
			if err == nil {
				n.Close()
			}
			return err
		},
	}
	for by, serve := range serves {
		tcp := func() net.Listener {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return ln
		}
		packets, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Log(err) // not on every system
		}
		for _, tt := range []struct {
			ln    net.Listener
			parts []string
		}{
			{filter{tcp().(*net.TCPListener)}, []string{"loop_test.filter", "Config.Accept", "Loop.Attach"}},
			{wrapper{tcp()}, []string{"loop_test.wrapper", "Config.Accept", "Loop.Attach"}},
			{tls.NewListener(tcp(), serverConfig()), []string{"crypto/tls", "TLSHandler"}},
			{packets, []string{"unixpacket"}},
			{nil, []string{"nil"}},
			{(*net.TCPListener)(nil), []string{"nil"}},
		} {
			if tt.ln == nil && tt.parts[0] == "unixpacket" {
				continue
			}
			err := serve(tt.ln)
			if err == nil {
				t.Errorf("%s serves a %T", by, tt.ln)
				continue
			}
			for _, part := range tt.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not contain %q", by, err, part)
				}
			}
			if tt.parts[0] != "nil" {
				stillListens(t, tt.ln)
			}
		}
		if packets != nil {
			packets.Close()
		}
	}
}

// Whatever the error, the listener stays the caller's.
func TestServeFails(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	ended := looptest.NewIdle(t, loop.Config{})
	ended.Close()
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if _, err := l.Serve(ln, nil); err == nil {
			t.Error("Serve works without a Handler")
		}
		if _, err := ended.Serve(ln, echo); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("Serve on a loop that has ended: %v", err)
		}
		if _, err := new(loop.TLSListenConfig).Serve(ln); !errors.Is(err, loop.ErrInvalidConfig) {
			t.Errorf("Serve without a configuration: %v", err)
		}
		stillListens(t, ln)
	}
}

// A listener given to Serve may be handed to another process, which makes the socket
// blocking for both. The loop does not block.
func TestServeBecomesBlocking(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			testkit.CheckLeaks(t)
			l := looptest.New(t, loop.Config{})
			address := "127.0.0.1:0"
			if network == "unix" {
				address = t.TempDir() + "/s"
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			f, err := ln.(interface{ File() (*os.File, error) }).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, err := l.Serve(ln, echo)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				f.Fd() // what os/exec does
				c := testkit.Dial(t, n.Addr())
				echoes(t, c, []byte("x"))
				c.Close()
				looptest.Must(t, l, func(context.Context) error { return nil })
			}
			f.Fd()
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
