package load

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file has the servers of the tests. They count what they see.

// server counts what it sees.
type server struct {
	ln      net.Listener
	serving sync.WaitGroup

	accepted   atomic.Int64
	handshakes atomic.Int64
	resumed    atomic.Int64
	requests   atomic.Int64
	ends       atomic.Int64 // connections that the client closed
	resets     atomic.Int64 // connections that the client reset

	// busy is the number of connections that are accepted and not yet answered. A
	// client cannot have left these. most is the maximum of busy.
	busy, most atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	seen  map[string]int // how often something came: "version TLS 1.3", "from 127.0.0.2"
}

// serve calls a handler for each connection, on its own goroutine. When the test ends, the
// server ends too, and nothing may be left.
func serve(t testing.TB, handler func(s *server, c net.Conn)) *server {
	t.Helper()
	testkit.CheckLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, handler)
}

// serveOn is serve with the test's own listener.
func serveOn(t testing.TB, ln net.Listener, handler func(s *server, c net.Conn)) *server {
	s := &server{ln: ln, conns: make(map[net.Conn]bool), seen: make(map[string]int)}
	s.serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			s.mu.Lock()
			s.conns[c] = true
			if from, ok := c.RemoteAddr().(*net.TCPAddr); ok {
				s.seen["from "+from.IP.String()]++
			}
			s.mu.Unlock()
			s.serving.Go(func() {
				handler(s, c)
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		s.ln.Close()
		s.closeAll()
		s.serving.Wait()
	})
	return s
}

func (s *server) addr() string { return s.ln.Addr().String() }

// closeAll closes the connections that are open now.
func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// saw counts a thing that the server saw.
func (s *server) saw(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[what]++
}

func (s *server) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[what]
}

// serveTLS is serve with TLS. It calls then when a handshake is done; nil means answer. It
// calls change first, to change the configuration, unless that is nil.
func serveTLS(t testing.TB, change func(*tls.Config), then func(*server, *tls.Conn)) *server {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	if change != nil {
		change(config)
	}
	if then == nil {
		then = (*server).answer
	}
	return serve(t, func(s *server, raw net.Conn) {
		n := s.busy.Add(1)
		for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
		}
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			s.busy.Add(-1)
			io.Copy(io.Discard, raw) // otherwise unread data would reset the connection, and the alert would be lost
			return
		}
		s.note(c.ConnectionState())
		then(s, c)
	})
}

// note counts a handshake.
func (s *server) note(state tls.ConnectionState) {
	s.handshakes.Add(1)
	if state.DidResume {
		s.resumed.Add(1)
	}
	s.saw("version " + tls.VersionName(state.Version))
	s.saw("cipher " + tls.CipherSuiteName(state.CipherSuite))
	s.saw("curve " + CurveName(state.CurveID))
	s.saw("alpn " + state.NegotiatedProtocol)
	s.saw("sni " + state.ServerName)
	if len(state.PeerCertificates) > 0 {
		s.saw("client " + state.PeerCertificates[0].Subject.CommonName)
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answer is a server without faults.
func (s *server) answer(c *tls.Conn) { s.answerWith(c, okAnswer) }

// answerWith waits for a request, if one is sent, and writes an answer.
func (s *server) answerWith(c *tls.Conn, answer string) {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	s.busy.Add(-1)
	if err == nil {
		s.requests.Add(1)
		s.saw("host " + req.Host)
		s.saw("path " + req.RequestURI)
		io.WriteString(c, answer)
		_, err = io.Copy(io.Discard, r)
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		s.ends.Add(1)
	case errors.Is(err, syscall.ECONNRESET):
		s.resets.Add(1)
	}
}

// longAnswer is one with n bytes of body.
func longAnswer(n int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, make([]byte, n))
}
