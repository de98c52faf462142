//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAnswerLength(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-length: 5\r\n\r\n"
	tests := []struct {
		in   string
		want int
		ok   bool
	}{
		{"", 0, true},
		{head[:len(head)-1], 0, true},
		{head, len(head) + 5, true},
		{head + "hello and more", len(head) + 5, true},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", 0, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 0, false},
		{"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", 0, false},
	}
	for _, tt := range tests {
		n, err := answerLength([]byte(tt.in))
		if (err == nil) != tt.ok || tt.ok && n != tt.want {
			t.Errorf("answerLength(%q) = %d, %v, want %d, ok %t", tt.in, n, err, tt.want, tt.ok)
		}
	}
}

func TestExchange(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	for answer, want := range map[string]string{
		head + "ab":               "",
		head + "abc":              "answer too long",
		head + "a":                "after 39 bytes of the answer: EOF",
		"HTTP/1.1 500 \r\n\r\n":   "500",
		strings.Repeat("x", 4096): "answer too long",
	} {
		near, far := net.Pipe()
		go func() {
			io.ReadFull(far, make([]byte, len(request)))
			io.WriteString(far, answer)
			far.Close()
		}()
		err := exchange(near, make([]byte, 4096))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answer %q: error %v, want %q", answer, err, want)
		}
		near.Close()
	}
}

// servePeer runs one of the Go servers in this process.
func servePeer(t *testing.T, kind string) (addr string, cert *certificate) {
	t.Helper()
	k, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // not the first serial number
		if cert, err = k.certificate(); err != nil {
			t.Fatal(err)
		}
	}
	config, err := tlsConfig(cert.certFile, cert.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&peer{Kind: kind, IdleTimeout: 100 * time.Millisecond}).serve(ctx, ln, config) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	})
	return ln.Addr().String(), cert
}

func TestPeers(t *testing.T) {
	for _, kind := range []string{"goroutines", "goroutines-frugal", "nethttp", "fasthttp"} {
		t.Run(kind, func(t *testing.T) {
			addr, cert := servePeer(t, kind)
			nc, err := dial(t.Context(), new(net.Dialer), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := tls.Client(nc, clientConfig)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := checkHandshake(c, big.NewInt(cert.serial)); err != nil {
				t.Error(err)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)); sum != cert.sha256 {
				t.Errorf("certificate %s, want %s", sum, cert.sha256)
			}
			if err := checkHandshake(c, big.NewInt(cert.serial-1)); err == nil {
				t.Error("another serial number is taken for the server's")
			}
			for range 2 { // the connection is kept
				if err := exchange(c, make([]byte, 4096)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.Copy(io.Discard, c); err != nil { // until the idle timeout
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestHandshakeClient(t *testing.T) {
	addr, cert := servePeer(t, "goroutines")
	counts := new(handshakeCounts)
	h := &handshakeClient{Addr: addr, Serial: cert.serial}
	d := new(net.Dialer)
	handshake := func() { counts.add(h.handshake(t.Context(), d, make([]byte, 4096))) }
	handshake() // in the warm-up
	counts.start()
	for range 3 {
		handshake()
	}
	counts.stop()
	handshake()
	h.Serial++
	handshake()
	r := &counts.result
	if r.Handshakes != 3 || r.Errors != 1 || !strings.Contains(r.FirstError, "certificate") {
		t.Errorf("%+v", r)
	}
}

func TestVisits(t *testing.T) {
	addr, cert := servePeer(t, "goroutines")
	for _, m := range moments {
		for w := range ways {
			v := &visit{moment: m, way: w, rnd: rand.New(rand.NewPCG(1, 2)), serial: cert.serial}
			if err := v.run(t.Context(), addr); err != nil {
				t.Errorf("%s, %v: %v", m.name, w, err)
			}
			v.conn.Close()
		}
	}
	v := &visit{moment: moments[len(moments)-1], rnd: rand.New(rand.NewPCG(1, 2))}
	if err := v.run(t.Context(), addr); err == nil {
		t.Error("no error of a wrong certificate")
	}
}

// A client must leave at the moment that is named, neither before nor after.
func TestMoments(t *testing.T) {
	for _, m := range moments {
		var wrote []int
		read := 0
		c := &vanishing{Conn: &countingConn{&wrote, &read}, moment: m, rnd: rand.New(rand.NewPCG(3, 4))}
		// The course of a TLS 1.3 connection.
		var err error
		for range 3 {
			if _, err = c.Write(make([]byte, 100)); err != nil {
				break
			}
			for range 5 { // more than serverFlight
				if _, err = c.Read(make([]byte, 200)); err != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		last := m.name == "after the answer"
		if (err == errVanished) == last {
			t.Errorf("%s: ended with %v", m.name, err)
		}
		whole, part := 0, false
		for _, n := range wrote {
			if n == 100 {
				whole++
			} else {
				part = true
			}
		}
		want := m.read
		if m.write > 0 {
			want = m.write - 1
		}
		if last {
			want = 3
		}
		if whole != want || part != (m.write > 0 && m.inside) {
			t.Errorf("%s: wrote %v, want %d times 100", m.name, wrote, want)
		}
		if m.read == 1 && (read > 0) != m.inside {
			t.Errorf("%s: read %d bytes", m.name, read)
		}
	}
}

type countingConn struct {
	wrote *[]int
	read  *int
}

func (c *countingConn) Write(p []byte) (int, error) {
	*c.wrote = append(*c.wrote, len(p))
	return len(p), nil
}
func (c *countingConn) Read(p []byte) (int, error) { *c.read += len(p); return len(p), nil }
func (*countingConn) Close() error                 { return nil }
func (*countingConn) LocalAddr() net.Addr          { return nil }
func (*countingConn) RemoteAddr() net.Addr         { return nil }
func (*countingConn) SetDeadline(time.Time) error  { return nil }
func (*countingConn) SetReadDeadline(time.Time) error {
	return nil
}
func (*countingConn) SetWriteDeadline(time.Time) error { return nil }
