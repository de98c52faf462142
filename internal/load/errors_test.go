package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// This file tests that errors are reported, and with the right kind.

// failing is a server that answers the probe and fails afterwards, as the test says.
func failing(t *testing.T, change func(*tls.Config), fault func(s *server, c net.Conn)) *server {
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	faulty := config.Clone()
	if change != nil {
		change(faulty)
	}
	return serve(t, func(s *server, raw net.Conn) {
		if s.accepted.Load() == 1 {
			c := tls.Server(raw, config)
			if c.Handshake() == nil {
				s.answer(c)
			}
			return
		}
		if fault != nil {
			fault(s, raw)
			return
		}
		c := tls.Server(raw, faulty)
		if c.Handshake() == nil {
			s.answer(c)
			return
		}
		io.Copy(io.Discard, raw) // otherwise the alert might be lost
	})
}

func TestKindsOfErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   string
		config func(*Config)                 // of the client
		change func(*tls.Config)             // of the server, after the probe
		fault  func(s *server, raw net.Conn) // instead of TLS
	}{
		{name: "reset", kind: kindReset, fault: func(_ *server, c net.Conn) { testkit.Reset(c) }},
		{name: "closed", kind: kindClosed, fault: func(_ *server, c net.Conn) {
			c.Read(make([]byte, 1<<10)) // read everything: closing with unread data would be a reset
		}},
		{
			name: "silent", kind: kindTimeout,
			config: func(c *Config) { c.Timeout = 200 * time.Millisecond },
			fault:  func(_ *server, c net.Conn) { io.Copy(io.Discard, c) },
		},
		{name: "plain HTTP", kind: kindNotTLS, fault: func(_ *server, c net.Conn) {
			c.Read(make([]byte, 1<<10))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, c)
		}},
		{name: "broken record", kind: kindProtocol, fault: func(_ *server, c net.Conn) {
			c.Read(make([]byte, 1<<10))
			io.WriteString(c, "\x16\x03\x03\x00\x04\x63\x00\x00\x00") // an unknown handshake message
			io.Copy(io.Discard, c)
		}},
		{name: "another authority", kind: kindCertificate, change: func(c *tls.Config) {
			c.Certificates = []tls.Certificate{newAuthority().issue(serverName)}
		}},
		{
			name: "another name", kind: kindCertificate,
			config: func(c *Config) { c.TLS.ServerName = serverName },
			change: func(c *tls.Config) { c.Certificates = []tls.Certificate{ca().issue("other.test")} },
		},
		{
			name: "handshake failure", kind: "alert: handshake failure",
			config: func(c *Config) {
				c.TLS.Version, c.TLS.Cipher = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
			},
			change: func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384} },
		},
		{
			name: "version", kind: "alert: protocol version not supported",
			config: func(c *Config) { c.TLS.Version = tls.VersionTLS13 },
			change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		},
		{
			name: "protocol", kind: "alert: no application protocol",
			config: func(c *Config) { c.TLS.ALPN = []string{"http/1.1"} },
			change: func(c *tls.Config) { c.NextProtos = []string{"spdy/3"} },
		},
		{
			name: "client certificate", kind: "alert: certificate required",
			config: func(c *Config) { c.TLS.Version = tls.VersionTLS13 },
			change: func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
		},
		{
			name: "h2", kind: kindProtocol, // --request does not support h2
			config: func(c *Config) { c.TLS.ALPN = []string{"h2"} },
			change: func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := failing(t, test.change, test.fault)
			cfg := closedConfig(s)
			cfg.Count, cfg.Connections, cfg.Rate = 3, 3, 1000 // an open loop: no pause after a failure
			if test.config != nil {
				test.config(&cfg)
			}
			res := mustRun(t, t.Context(), cfg)
			wantErrors(t, res, test.kind, 3)
			want(t, "handshakes", res.Handshakes, 0)
			want(t, "latency", res.Latency, Percentiles{})
			want(t, "errors of the target", res.Targets[0].Errors, 3)
		})
	}
}

// The names in a server's certificate cannot give orders to the terminal.
func TestNamesCannotOrder(t *testing.T) {
	s := failing(t, func(c *tls.Config) {
		c.Certificates = []tls.Certificate{ca().issue("\x1b[31mevil\n.test")}
	}, nil)
	cfg := closedConfig(s)
	cfg.TLS.ServerName = serverName
	cfg.Count, cfg.Connections = 1, 1
	res := mustRun(t, t.Context(), cfg)
	if text := res.ErrorExamples[kindCertificate]; strings.ContainsFunc(text, unicode.IsControl) || !strings.Contains(text, "evil") {
		t.Errorf("the example is %q", text)
	}
}

// Messages say what the server did, how far the connection had come, and which flag set a
// time.
func TestMessages(t *testing.T) {
	var (
		hello  = func(c net.Conn) { c.Read(make([]byte, 4<<10)) }
		silent = func(c net.Conn) { io.Copy(io.Discard, c) }
		half   = func(c net.Conn) { hello(c); io.WriteString(c, "\x16\x03\x03\x00\x04\x02") }
		shaken = func(then func(*tls.Conn)) func(net.Conn) {
			return func(raw net.Conn) {
				c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{serverCert()}})
				if c.Handshake() == nil {
					readRequest(c)
					then(c)
				}
			}
		}
		begun = func(then func(net.Conn)) func(net.Conn) {
			return shaken(func(c *tls.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"); then(c.NetConn()) })
		}
	)
	for _, test := range []struct {
		says  string
		fault func(net.Conn)
		slow  bool // it runs into the timeout
	}{
		{says: "handshake: the server closed the connection without an answer", fault: hello},
		{says: "handshake: the server closed the connection in the middle of it", fault: half},
		{says: "handshake: the server reset the connection without an answer", fault: func(c net.Conn) { hello(c); testkit.Reset(c) }},
		{says: "handshake: no answer within 1s (--timeout)", fault: silent, slow: true},
		{says: "handshake: no end of it within 1s (--timeout)", fault: func(c net.Conn) { half(c); silent(c) }, slow: true},
		{says: "request: the server closed the connection without an answer", fault: shaken(func(*tls.Conn) {})},
		{says: "request: the server closed the connection in the middle of it", fault: begun(func(net.Conn) {})},
		{says: "request: no answer within 1s (--timeout)", fault: shaken(func(c *tls.Conn) { silent(c) }), slow: true},
		{says: "request: no end of the answer within 1s (--timeout)", fault: begun(silent), slow: true},
	} {
		t.Run(test.says, func(t *testing.T) {
			s := failing(t, nil, func(_ *server, c net.Conn) { test.fault(c) })
			cfg := closedConfig(s)
			cfg.Count, cfg.Connections, cfg.Rate = 1, 1, 1000
			if test.slow {
				cfg.Timeout = time.Second
			}
			res := mustRun(t, t.Context(), cfg)
			want(t, "errors", res.Errors, 1)
			for _, text := range res.ErrorExamples {
				want(t, "message", text, test.says)
			}
		})
	}
}

func TestRefusedInMidRun(t *testing.T) {
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.handshakes.Load() == 11 {
			s.ln.Close()
		}
		s.answer(c)
	})
	cfg := openConfig(1000, 0, s)
	cfg.Count, cfg.Connections = 50, 1
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, 10)
	wantErrors(t, res, kindRefused, 40)
}

// A target that cannot be loaded is an error before the start. The error names it.
func TestProbe(t *testing.T) {
	good := serveTLS(t, nil, nil)
	silent := serve(t, func(_ *server, c net.Conn) { io.Copy(io.Discard, c) })
	plain := serve(t, func(_ *server, c net.Conn) {
		c.Read(make([]byte, 1<<10))
		io.WriteString(c, "220 mail.example ESMTP\r\n")
		io.Copy(io.Discard, c)
	})
	stranger := serveTLS(t, func(c *tls.Config) { c.Certificates = []tls.Certificate{newAuthority().issue(serverName)} }, nil)
	missing := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		s.answerWith(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()

	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		header   tls.RecordHeaderError
		status   statusError
		dns      *net.DNSError
	)
	for _, test := range []struct {
		name   string
		target string
		config func(*Config)
		is     func(error) bool
		text   string
	}{
		{name: "refused", target: closed, text: "connection refused",
			is: func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{name: "silent", target: silent.addr(), text: "handshake: ",
			config: func(c *Config) { c.Timeout = 100 * time.Millisecond },
			is:     func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
		{name: "not TLS", target: plain.addr(), text: "handshake: ", is: func(err error) bool { return errors.As(err, &header) }},
		{name: "authority", target: stranger.addr(), text: "unknown authority", is: func(err error) bool { return errors.As(err, &unknown) }},
		{name: "name of the certificate", target: good.addr(), text: "not other.test",
			config: func(c *Config) { c.TLS.ServerName = "other.test" },
			is:     func(err error) bool { return errors.As(err, &hostname) }},
		{name: "status", target: missing.addr(), text: "HTTP status 404", is: func(err error) bool { return errors.As(err, &status) && status == 404 }},
		{name: "name", target: "name.invalid:443", text: "name.invalid",
			config: func(c *Config) { c.Timeout = 2 * time.Second }, // in case a resolver does not answer
			is:     func(err error) bool { return errors.As(err, &dns) || errors.Is(err, os.ErrDeadlineExceeded) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := closedConfig(good)
			cfg.Targets = []string{good.addr(), test.target} // the first one works
			if test.name == "name of the certificate" {
				cfg.Targets = cfg.Targets[1:]
			}
			if test.config != nil {
				test.config(&cfg)
			}
			res, err := Run(t.Context(), cfg)
			if err == nil || res != nil || !test.is(err) {
				t.Fatalf("result %v, error %v (%T)", res, err, err)
			}
			if !strings.HasPrefix(err.Error(), test.target+": ") || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %q, want the target's name and %q", err, test.text)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	system := func(errno syscall.Errno) error {
		return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)})
	}
	for _, test := range []struct {
		err  error
		kind string
	}{
		{system(syscall.ECONNREFUSED), kindRefused},
		{system(syscall.ECONNRESET), kindReset},
		{system(syscall.EPIPE), kindReset},
		{system(syscall.ECONNABORTED), kindReset},
		{system(syscall.ETIMEDOUT), kindTimeout},
		{system(syscall.EHOSTUNREACH), kindUnreachable},
		{system(syscall.ENETUNREACH), kindUnreachable},
		{system(syscall.EADDRNOTAVAIL), kindPorts},
		{system(syscall.EADDRINUSE), kindPorts},
		{system(syscall.EMFILE), kindDescriptors},
		{system(syscall.ENFILE), kindDescriptors},
		{system(syscall.EPERM), kindOther},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, kindTimeout},
		{(&visit{patience: time.Second}).failed("handshake", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}), kindGaveUp},
		{(&visit{patience: time.Second}).failed("connect", system(syscall.ETIMEDOUT)), kindTimeout}, // the kernel's timeout, not the client's
		{(&visit{patience: time.Second}).failed("handshake", system(syscall.ECONNRESET)), kindReset},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "alert: bad certificate"},
		{&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, kindProtocol},
		{fmt.Errorf("request: %w", statusError(503)), "status 503"},
		{newAnswerReader().failed(errors.New("no such thing")), kindProtocol},
		{newAnswerReader().failed(io.ErrUnexpectedEOF), kindClosed},
		{fmt.Errorf("handshake: %w", io.EOF), kindClosed},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, kindCertificate},
		{errors.New("something else"), kindOther},
	} {
		want(t, test.err.Error(), kindOf(test.err), test.kind)
		want(t, test.err.Error()+" is a cancellation", canceled(test.err), false)
	}
	for _, err := range []error{jobs.ErrCanceled, net.ErrClosed} {
		want(t, err.Error(), canceled(fmt.Errorf("handshake: %w", &net.OpError{Op: "read", Err: err})), true)
	}
}
