//go:build linux

package client

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
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
		head + "ab":                  "",
		head + "abc":                 "more came than the answer",
		head + "ab" + head + "ab":    "more came than the answer",
		head + "a":                   "after 39 bytes of the answer: EOF",
		"HTTP/1.1 500 \r\n\r\n":      "500",
		strings.Repeat("x", 70<<10):  "answer too long",
		"HTTP/1.1 200 OK\r\nA: \r\n": "EOF",
	} {
		near, far := net.Pipe()
		go func() {
			io.ReadFull(far, make([]byte, len(request)))
			io.WriteString(far, answer)
			far.Close()
		}()
		err := exchange(near)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answer %.100q: error %v, want %q", answer, err, want)
		}
		near.Close()
	}
}

// A client that reaches another server than it was sent to must not measure it.
func TestDial(t *testing.T) {
	_, target := answering(t)
	c, err := target.Dial(t.Context(), new(net.Dialer))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 { // the connection is kept
		if err := exchange(c); err != nil {
			t.Error(err)
		}
	}
	other := target
	other.SHA256 = strings.Repeat("0", 64)
	if _, err := other.Dial(t.Context(), new(net.Dialer)); err == nil || err.Error() != "handshake: another server's certificate" {
		t.Errorf("of another certificate: error %v", err)
	}
	plain := serving(t, false, func(c net.Conn) { io.WriteString(c, "this is not TLS\n") })
	plain.SHA256 = target.SHA256
	if _, err := plain.Dial(t.Context(), new(net.Dialer)); err == nil || !strings.HasPrefix(err.Error(), "handshake: ") {
		t.Errorf("of a server without TLS: error %v", err)
	}
}

// Handshakes that are not what is to be measured must not become figures.
func TestTargetCheck(t *testing.T) {
	s, target := answering(t)
	good := tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	good.PeerCertificates = append(good.PeerCertificates, s.Certificate())
	if err := target.check(good); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*tls.ConnectionState){
		"TLS 1.2 instead of TLS 1.3": func(s *tls.ConnectionState) { s.Version = tls.VersionTLS12 },
		"the session was resumed":    func(s *tls.ConnectionState) { s.DidResume = true },
		"CurveP256 instead of":       func(s *tls.ConnectionState) { s.CurveID = tls.CurveP256 },
	} {
		state := good
		spoil(&state)
		if err := target.check(state); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	target.SHA256 = fmt.Sprintf("%x", sha256.Sum256(nil))
	if err := target.check(good); err == nil {
		t.Error("another certificate is taken for the server's")
	}
}
