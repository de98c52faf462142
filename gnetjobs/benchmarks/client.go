//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// This file is what the clients have in common that send something: echoClient
// and idleClient. That of the handshakes is internal/load.

const ioTimeout = 30 * time.Second

// target is a server, as flags of a client.
type target struct {
	Addr   string `arg:""`
	SHA256 string `name:"sha256"` // of its certificate; empty: it has no TLS
}

func (s *server) target(cert *certificate) target {
	t := target{Addr: s.addr}
	if hasTLS(s.name) {
		t.SHA256 = cert.sha256
	}
	return t
}

func (t target) args() []string { return []string{t.Addr, "--sha256", t.SHA256} }

// dial connects, with a deadline of ioTimeout. With TLS it makes the handshake,
// and checks what was agreed on, and with whom.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // probes would wake idle servers
	c, err := d.DialContext(ctx, "tcp4", t.Addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(ioTimeout))
	if t.SHA256 == "" {
		return c, nil
	}
	conn := tls.Client(c, &tls.Config{
		InsecureSkipVerify: true, // the certificate is compared instead
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		ServerName:         "localhost",
	})
	err = conn.HandshakeContext(ctx)
	if err == nil {
		err = t.check(conn.ConnectionState())
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}

// check tells whether a handshake is the one that all servers are measured
// with.
func (t target) check(s tls.ConnectionState) error {
	switch {
	case s.Version != tls.VersionTLS13:
		return fmt.Errorf("%s instead of TLS 1.3", tls.VersionName(s.Version))
	case s.DidResume:
		return errors.New("the session was resumed")
	case s.CurveID != tls.X25519:
		return fmt.Errorf("key exchange with %v instead of X25519", s.CurveID)
	case s.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("%s instead of TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(s.CipherSuite))
	case fmt.Sprintf("%x", sha256.Sum256(s.PeerCertificates[0].Raw)) != t.SHA256:
		return errors.New("another server's certificate")
	}
	return nil
}

// echoer exchanges messages over a connection. Each begins with its number, and
// no two connections send the same bytes.
type echoer struct {
	conn       net.Conn
	sent, echo []byte
	number     uint64
}

func newEchoer(c net.Conn, size int) *echoer {
	e := &echoer{conn: c, sent: make([]byte, size), echo: make([]byte, size)}
	for i := range e.sent {
		e.sent[i] = byte(rand.Uint32())
	}
	return e
}

// exchange sends a message and compares what comes back with it.
func (e *echoer) exchange() error {
	e.number++
	binary.BigEndian.PutUint64(e.sent, e.number)
	if _, err := e.conn.Write(e.sent); err != nil {
		return fmt.Errorf("message %d: %w", e.number, err)
	}
	n, err := io.ReadFull(e.conn, e.echo)
	if err != nil {
		return fmt.Errorf("echo %d, after %d bytes: %w", e.number, n, err)
	}
	if !bytes.Equal(e.sent, e.echo) {
		i := 0
		for e.sent[i] == e.echo[i] {
			i++
		}
		return fmt.Errorf("echo %d differs from what was sent, from byte %d of %d on", e.number, i, n)
	}
	return nil
}
