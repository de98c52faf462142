//go:build linux

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// IOTimeout bounds whatever a client waits for.
const IOTimeout = 30 * time.Second

var request = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

// Target is a server, as flags of a client.
type Target struct {
	Addr   string `arg:""`
	SHA256 string `name:"sha256"` // of its certificate, in hexadecimal; empty: it has no TLS
	Echo   bool   // it echoes what it receives; otherwise it answers HTTP requests
}

// Args returns the flags that Target is parsed from.
func (t Target) Args() []string {
	return []string{t.Addr, "--sha256", t.SHA256, fmt.Sprintf("--echo=%t", t.Echo)}
}

// config makes full handshakes only. It asks for no session tickets, so that no
// server spends time on them.
var config = &tls.Config{
	InsecureSkipVerify: true, // certificates are compared instead
	MinVersion:         tls.VersionTLS13,
	CurvePreferences:   []tls.CurveID{tls.X25519},
	ServerName:         "localhost",
}

// dial connects, with a deadline for all that follows. When the connection is
// closed it is reset, so that none waits in TIME_WAIT and the local ports last.
func dial(ctx context.Context, d *net.Dialer, addr string) (net.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c.(*net.TCPConn).SetLinger(0)
	return c, c.SetDeadline(time.Now().Add(IOTimeout))
}

// Dial connects to the server, with a deadline for all that follows. With TLS it
// makes the handshake, and checks what was agreed on, and with whom.
func (t Target) Dial(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	c, err := dial(ctx, d, t.Addr)
	if err != nil || t.SHA256 == "" {
		return c, err
	}
	conn := tls.Client(c, config)
	if err = conn.HandshakeContext(ctx); err == nil {
		err = t.check(conn.ConnectionState())
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}

// check returns an error unless a handshake was of the kind that all servers are
// measured with, and with the right server. The cipher suite is whichever suits the
// processor: the servers prefer AES-128-GCM where it has instructions for AES.
func (t Target) check(s tls.ConnectionState) error {
	switch {
	case s.Version != tls.VersionTLS13:
		return fmt.Errorf("%s instead of TLS 1.3", tls.VersionName(s.Version))
	case s.DidResume:
		return errors.New("the session was resumed")
	case s.CurveID != tls.X25519:
		return fmt.Errorf("key exchange with %v instead of X25519", s.CurveID)
	case fmt.Sprintf("%x", sha256.Sum256(s.PeerCertificates[0].Raw)) != t.SHA256:
		return errors.New("another server's certificate")
	}
	return nil
}

// exchange makes one request and reads the whole answer.
func exchange(c net.Conn) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	var a answers
	for {
		switch n, err := a.read(c); {
		case err != nil:
			return fmt.Errorf("after %d bytes of the answer: %w", len(a.rest), err)
		case n > 1, n == 1 && len(a.rest) > 0:
			return errors.New("more came than the answer")
		case n == 1:
			return nil
		}
	}
}

// answers takes apart what a server sends.
type answers struct{ rest []byte }

// maxAnswer is many times what a server answers.
const maxAnswer = 64 << 10

// read reads once, and returns how many answers are whole now.
func (a *answers) read(c io.Reader) (whole int, err error) {
	var buf [4096]byte
	n, err := c.Read(buf[:])
	if err != nil {
		return 0, err
	}
	a.rest = append(a.rest, buf[:n]...)
	for {
		length, err := answerLength(a.rest)
		switch {
		case err != nil:
			return whole, err
		case length > 0 && length <= len(a.rest):
			a.rest = a.rest[:copy(a.rest, a.rest[length:])]
			whole++
		case len(a.rest) > maxAnswer:
			return whole, fmt.Errorf("answer too long: %.100q", a.rest)
		default:
			return whole, nil
		}
	}
}

// answerLength returns the length of the answer that b begins with, or 0 if too
// little of it is there.
func answerLength(b []byte) (int, error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("answer %q", b)
	}
	for line := range bytes.Lines(b[:head]) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(key, []byte("Content-Length")) {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			return head + 4 + int(n), err
		}
	}
	return 0, fmt.Errorf("answer without Content-Length: %q", b)
}
