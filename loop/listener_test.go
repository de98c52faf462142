package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

func wantEcho(t *testing.T, addr net.Addr) {
	t.Helper()
	c := testkit.Dial(t, addr)
	defer c.Close()
	send(t, c, "echo")
	testkit.WantRead(t, c, "echo")
}

func wantRefused(t *testing.T, addr net.Addr) {
	t.Helper()
	if c, err := net.Dial(addr.Network(), addr.String()); err == nil {
		c.Close()
		t.Errorf("%v accepts connections", addr)
	}
}

func TestListen(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	path := filepath.Join(t.TempDir(), "s")
	for _, tt := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp4", "127.0.0.1:0"}, {"tcp4", ":0"}, {"tcp6", "[::1]:0"}, {"unix", path},
	} {
		ln, err := l.Listen(tt.network, tt.address, echo)
		if err != nil {
			if tt.network == "tcp6" {
				continue // no IPv6 here
			}
			t.Errorf("Listen(%s, %s): %v", tt.network, tt.address, err)
			continue
		}
		wantEcho(t, ln.Addr())
		if err := ln.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the second Close: %v, want %v", err, net.ErrClosed)
		}
		looptest.Settle(t, l)
		wantRefused(t, ln.Addr())
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
}

func TestListenFails(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	taken, err := l.Listen("tcp", "127.0.0.1:0", echo)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ network, address string }{
		{"udp", "127.0.0.1:0"},
		{"unixpacket", filepath.Join(t.TempDir(), "s")},
		{"", ""},
		{"tcp", "no port"},
		{"tcp", taken.Addr().String()},
		{"unix", filepath.Join(t.TempDir(), "no", "such", "directory")},
	} {
		if ln, err := l.Listen(tt.network, tt.address, echo); err == nil {
			ln.Close()
			t.Errorf("Listen(%q, %q) works", tt.network, tt.address)
		}
	}
	if _, err := l.Listen("tcp", "127.0.0.1:0", nil); err == nil {
		t.Error("Listen without a Handler works")
	}
}

func TestListenBeforeRun(t *testing.T) {
	l := looptest.NewIdle(t, loop.Config{})
	ln, err := l.Listen("tcp", "127.0.0.1:0", echo)
	if err != nil {
		t.Fatal(err)
	}
	c := testkit.Dial(t, ln.Addr()) // the kernel queues it
	send(t, c, "early")
	looptest.Start(t, l)
	testkit.WantRead(t, c, "early")
}

// A listener of package net is taken over: as systemd hands one to a program,
// by a descriptor, or as somebody else has opened it.
func TestServe(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	opened, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := opened.(*net.TCPListener).File() // what a program finds as descriptor 3
	if err != nil {
		t.Fatal(err)
	}
	opened.Close()
	inherited, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	own := filepath.Join(t.TempDir(), "own")
	ul, err := net.Listen("unix", own)
	if err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(t.TempDir(), "others")
	activated := activatedUnix(t, others)
	for _, given := range []net.Listener{inherited, ul, activated} {
		ln, err := l.Serve(given, echo)
		if err != nil {
			t.Fatal(err)
		}
		if ln.Addr().String() != given.Addr().String() {
			t.Errorf("Addr = %v, want %v", ln.Addr(), given.Addr())
		}
		wantEcho(t, ln.Addr())
		ln.Close()
		looptest.Settle(t, l)
		if _, err := given.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept of the listener that was taken over: %v, want %v", err, net.ErrClosed)
		}
		if given != activated { // whose socket its owner keeps
			wantRefused(t, ln.Addr())
		}
	}
	if _, err := os.Stat(own); !os.IsNotExist(err) {
		t.Errorf("the socket file is left: %v", err)
	}
	if _, err := os.Stat(others); err != nil {
		t.Errorf("the socket file of the one who activates is gone: %v", err)
	}
}

// activatedUnix returns a listener as a program has it whose socket systemd has
// opened, and keeps.
func activatedUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	owner, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close() })
	f, err := owner.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// The process that a listener came from keeps its socket; the loop must let go
// of it all the same.
func TestCloseSharedListener(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := given.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	ln, err := l.Serve(given, echo)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, ln.Addr())
	ln.Close()
	looptest.Settle(t, l)
	before := l.Stats().Events
	testkit.Dial(t, ln.Addr()) // into the backlog
	if n := looptest.Settle(t, l).Events - before; n != 0 {
		t.Errorf("%d events of a listener that is closed", n)
	}
}

func TestListenerCloseKeepsConns(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	ln, err := l.Listen("tcp", "127.0.0.1:0", echo)
	if err != nil {
		t.Fatal(err)
	}
	c := testkit.Dial(t, ln.Addr())
	send(t, c, "a")
	testkit.WantRead(t, c, "a")
	ln.Close()
	looptest.Settle(t, l)
	send(t, c, "b")
	testkit.WantRead(t, c, "b")
}

// AcceptsPerTurn bounds what is accepted before work in progress comes again.
func TestAcceptsPerTurn(t *testing.T) {
	for _, per := range []int{1, 4} {
		l := looptest.NewIdle(t, loop.Config{AcceptsPerTurn: per})
		const n = 16
		served := make(chan loop.Stats, n)
		ln, err := l.Listen("tcp", "127.0.0.1:0", loop.HandlerFunc(func(context.Context, *loop.Conn) error {
			// Published at the end of the turn before, in which it was accepted.
			served <- l.Stats()
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			testkit.Dial(t, ln.Addr())
		}
		looptest.Start(t, l)
		for i := range n {
			// A slow machine starts some of them in a later turn.
			s := testkit.Receive(t, served)
			if least := uint64(i / per * per); s.Accepted < least || s.Accepted > uint64(per)*s.Turns || i == 0 && s.Accepted > uint64(per) {
				t.Errorf("%d accepts a turn: connection %d served after %d accepts in %d turns", per, i, s.Accepted, s.Turns)
			}
		}
	}
}

// With its pool full a loop accepts nothing, and does nothing about it, until a
// job ends.
func TestFullPool(t *testing.T) {
	l := looptest.New(t, loop.Config{MaxJobs: 2})
	var served atomic.Int64
	addr := looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		served.Add(1)
		fmt.Fprint(c, "hello")
		return readAll(c, "bye")
	}))
	c1, c2 := testkit.Dial(t, addr), testkit.Dial(t, addr)
	testkit.WantRead(t, c1, "hello")
	testkit.WantRead(t, c2, "hello")
	c3 := testkit.Dial(t, addr)
	testkit.Eventually(t, "the listener is left alone", func() bool { return looptest.Settle(t, l).AcceptsPaused > 0 })
	c4 := testkit.Dial(t, addr)
	before := looptest.Settle(t, l)
	wantFewTurns(t, l)
	after := looptest.Settle(t, l)
	if served.Load() != 2 || after.Accepted != 2 || after.AcceptsPaused != before.AcceptsPaused {
		t.Errorf("%d connections are served, Stats %+v", served.Load(), after)
	}
	send(t, c2, "bye")
	testkit.WantRead(t, c3, "hello")
	for _, c := range []net.Conn{c1, c3} {
		send(t, c, "bye")
		expectEOF(t, c)
	}
	testkit.WantRead(t, c4, "hello")
	send(t, c4, "bye")
	expectEOF(t, c4)
	// And the listener is polled again.
	c5 := testkit.Dial(t, addr)
	testkit.WantRead(t, c5, "hello")
	send(t, c5, "bye")
}
