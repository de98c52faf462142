//go:build linux

package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probeServer accepts one connection and gives it to f.
func probeServer(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		f(c)
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func runProbe(t *testing.T, p *probe) (*probeResult, error) {
	t.Helper()
	fd, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	res := new(probeResult)
	return res, p.measure(fd, res)
}

// A server that stands still is seen by every probe that was due meanwhile, and
// not only by the one that it kept waiting.
func TestProbeCountsFromTheMomentDue(t *testing.T) {
	const n = 40
	addr := probeServer(t, func(c net.Conn) {
		buf := make([]byte, n*probeSize)
		if _, err := io.ReadFull(c, buf); err != nil { // it has no answer before the last is sent
			return
		}
		c.Write(buf)
		io.Copy(io.Discard, c)
	})
	res, err := runProbe(t, &probe{Addr: addr, Interval: time.Millisecond, Duration: n * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// Number i was due at i ms, and has waited for number 39 at least. The
	// histogram's figures are exact to a thousandth.
	if res.Probes != n || res.Max < 38*time.Millisecond || res.P50 < 18*time.Millisecond {
		t.Errorf("%+v of %d probes of which the first waited for the last", res, n)
	}
}

func TestProbe(t *testing.T) {
	addr := probeServer(t, func(c net.Conn) { io.Copy(c, c) })
	res, err := runProbe(t, &probe{Addr: addr, Interval: 100 * time.Microsecond, Warmup: time.Millisecond, Duration: 5 * time.Millisecond})
	if err != nil || res.Probes != 50 || res.P50 == 0 || res.P50 > res.P99 || res.P99 > res.P999 || res.P999 > res.Max+res.Max/500 {
		t.Errorf("%+v, %v, want 50 probes", res, err)
	}
}

func TestProbeFindsWrongAnswers(t *testing.T) {
	for want, f := range map[string]func(net.Conn){
		"answer 0x": func(c net.Conn) {
			c.Write([]byte("nonsense"))
			io.Copy(io.Discard, c)
		},
		"unexpected EOF": func(c net.Conn) {
			io.ReadFull(c, make([]byte, 3*probeSize))
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		},
	} {
		_, err := runProbe(t, &probe{Addr: probeServer(t, f), Interval: time.Millisecond, Duration: 10 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
