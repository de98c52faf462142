package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// generous are limits that a test does not meet, on a busy machine either.
var generous = limits{conns: 100, connsPerAddress: 100, rate: 1e6, burst: 1e6, clients: 100, header: 2000, body: 1 << 20, requestTime: 2 * testkit.Patience}

// server is the server as its clients see it.
type server struct {
	t     *testing.T
	addr  string
	roots *x509.CertPool
}

// start runs the server on two loops until the test ends. Then it must stop cleanly.
func start(t *testing.T, lim limits) *server {
	t.Helper()
	new(fasthttp.Response).WriteTo(io.Discard) // starts a goroutine that keeps the time for Date headers
	testkit.CheckLeaks(t)
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, 2, lim, func(a net.Addr) { at <- a })
	}()
	s := &server{t: t, roots: roots}
	select {
	case a := <-at:
		s.addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := testkit.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial connects a client from an address.
func (s *server) dial(from string) (*tls.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	raw, err := d.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(testkit.Patience))
	c := tls.Client(raw, &tls.Config{RootCAs: s.roots, ServerName: "localhost"})
	return c, c.Handshake()
}

// mustDial connects a client, which must succeed. Systems other than Linux have only one
// address by themselves.
func (s *server) mustDial(from string) *tls.Conn {
	s.t.Helper()
	c, err := s.dial(from)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		s.t.Skip(err)
	}
	if err != nil {
		s.t.Fatalf("from %s: %v", from, err)
	}
	return c
}

// wantReset connects from an address, and proves that the connection is reset.
func (s *server) wantReset(from string) {
	s.t.Helper()
	if _, err := s.dial(from); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		s.t.Errorf("from %s: %v, want a reset", from, err)
	}
}

// client is an HTTP client at an address.
func (s *server) client(from string) *http.Client {
	tr := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(from) },
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testkit.Patience}
}

// post makes a request.
func (s *server) post(c *http.Client, header string, body int) *http.Response {
	s.t.Helper()
	req, err := http.NewRequest("POST", "https://"+s.addr+"/", bytes.NewReader(make([]byte, body)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Test", header)
	resp, err := c.Do(req)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		s.t.Skip(err)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

// A client that makes too many requests is told when to come back, on any connection.
// Others are served.
func TestRequests(t *testing.T) {
	lim := generous
	lim.rate, lim.burst = 1./3600, 3
	s := start(t, lim)
	for i := range 5 {
		resp := s.post(s.client("127.0.0.1"), "", 0)
		want := http.StatusOK
		if i >= lim.burst {
			want = http.StatusTooManyRequests
		}
		if resp.StatusCode != want {
			t.Errorf("request %d: %s, want %d", i+1, resp.Status, want)
		}
		after := resp.Header.Get("Retry-After")
		if n, err := strconv.Atoi(after); want == http.StatusTooManyRequests && (err != nil || n <= 0 || n > 3600) {
			t.Errorf("request %d: Retry-After %q, want up to 3600 seconds", i+1, after)
		}
	}
	if resp := s.post(s.client("127.0.0.2"), "", 0); resp.StatusCode != http.StatusOK {
		t.Errorf("another client: %s", resp.Status)
	}
}

// Connections beyond the limits are reset. When one is closed, another is served.
func TestConnections(t *testing.T) {
	lim := generous
	lim.conns, lim.connsPerAddress = 3, 2
	s := start(t, lim)
	first := s.mustDial("127.0.0.1")
	s.mustDial("127.0.0.1")
	s.wantReset("127.0.0.1") // the client's limit
	s.mustDial("127.0.0.2")
	s.wantReset("127.0.0.3") // the limit of all
	first.Close()
	testkit.Eventually(t, "there is room for another client", func() bool {
		c, err := s.dial("127.0.0.3")
		if err != nil {
			return false
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		testkit.WantRead(t, c, "HTTP/1.1 200 OK\r\n")
		return true
	})
}

// Large requests are refused.
func TestSize(t *testing.T) {
	lim := generous
	lim.body = 1000
	s := start(t, lim)
	for _, tt := range []struct{ header, body, want int }{
		{1000, 1000, http.StatusOK},
		{1000, 1001, http.StatusRequestEntityTooLarge},
		{2000, 0, http.StatusRequestHeaderFieldsTooLarge},
	} {
		resp := s.post(s.client("127.0.0.1"), strings.Repeat("x", tt.header), tt.body)
		if resp.StatusCode != tt.want {
			t.Errorf("%d bytes of header, %d of body: %s, want %d", tt.header, tt.body, resp.Status, tt.want)
		}
	}
}

// A client that does not end its request is not kept.
func TestSlow(t *testing.T) {
	for _, part := range []string{"GET / HT", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345"} {
		lim := generous
		lim.requestTime = 10 * time.Millisecond
		s := start(t, lim)
		c := s.mustDial("127.0.0.1")
		fmt.Fprint(c, part)
		_, err := io.ReadAll(c)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("after %q the connection is still open", part)
		}
	}
}
