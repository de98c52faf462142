//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"time"
)

// This file is what the clients have in common that are written here, those of
// blocking, idle and soak. That of the others is "tlsdemo load": loadclient.go.

const ioTimeout = 30 * time.Second

var request = []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

// clientConfig makes full handshakes only. It asks for no session tickets, and
// so none of the servers spends time on one.
var clientConfig = &tls.Config{
	InsecureSkipVerify: true, // serial numbers are compared instead
	MinVersion:         tls.VersionTLS13,
	CurvePreferences:   []tls.CurveID{tls.X25519},
	ServerName:         "localhost",
}

// dial connects with a deadline for all that follows. Its connections are reset
// when they are closed, so that none waits in TIME_WAIT and the local ports
// last.
func dial(ctx context.Context, d *net.Dialer, addr string) (net.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c.(*net.TCPConn).SetLinger(0)
	c.SetDeadline(time.Now().Add(ioTimeout))
	return c, nil
}

// checkHandshake tells whether a handshake was a full one of TLS 1.3 with the
// server whose certificate has the serial number.
func checkHandshake(t *tls.Conn, serial *big.Int) error {
	s := t.ConnectionState()
	switch {
	case s.Version != tls.VersionTLS13:
		return fmt.Errorf("%s instead of TLS 1.3", tls.VersionName(s.Version))
	case s.DidResume:
		return errors.New("the session was resumed")
	case s.CurveID != tls.X25519:
		return fmt.Errorf("key exchange with %v instead of X25519", s.CurveID)
	case s.PeerCertificates[0].SerialNumber.Cmp(serial) != 0:
		return errors.New("another server's certificate")
	}
	return nil
}

// exchange makes one request and reads the whole answer. buf is scratch.
func exchange(c net.Conn, buf []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	n := 0
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return fmt.Errorf("after %d bytes of the answer: %w", n, err)
		}
		n += m
		whole, err := answerLength(buf[:n])
		switch {
		case err != nil:
			return err
		case whole == n:
			return nil
		case whole != 0 && n > whole, n == len(buf):
			return fmt.Errorf("answer too long: %q", buf[:n])
		}
	}
}

// answerLength returns the length of the answer that b begins with, 0 if too
// little is there to tell.
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

// freeAddr returns an address that nobody listens at.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
