package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
)

// This file tests the headers of the PROXY protocol.

func tcp(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

// The bytes are those of the specification's sections 2.1 and 2.2.
func TestProxyHeader(t *testing.T) {
	const signature = "0d0a0d0a000d0a515549540a"
	for _, test := range []struct {
		version       int
		local, remote net.Addr
		text, hex     string
	}{
		{1, tcp("192.168.0.1:56324"), tcp("192.168.0.11:443"), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", ""},
		{1, tcp("[::ffff:192.168.0.1]:1"), tcp("192.168.0.11:443"), "PROXY TCP4 192.168.0.1 192.168.0.11 1 443\r\n", ""},
		{1, tcp("[fe80::2%1]:56324"), tcp("[fe80::1%1]:443"), "PROXY TCP6 fe80::2 fe80::1 56324 443\r\n", ""},
		{1, &net.UnixAddr{}, &net.UnixAddr{Name: "/run/s"}, "PROXY UNKNOWN\r\n", ""},
		{2, tcp("192.168.0.1:56324"), tcp("192.168.0.11:443"), "", signature + "2111" + "000c" + "c0a80001" + "c0a8000b" + "dc04" + "01bb"},
		{2, tcp("[2001:db8::2]:56324"), tcp("[fe80::1%1]:443"), "", signature + "2121" + "0024" +
			"20010db8000000000000000000000002" + "fe800000000000000000000000000001" + "dc04" + "01bb"},
		{2, &net.UnixAddr{}, &net.UnixAddr{Name: "/run/s"}, "", signature + "2000" + "0000"},
	} {
		got := appendProxyHeader(nil, test.version, test.local, test.remote)
		if test.version == 1 {
			want(t, "header", string(got), test.text)
		} else {
			want(t, "header", hex.EncodeToString(got), test.hex)
		}
		if len(got) > maxProxyHeader {
			t.Errorf("a header of %d bytes", len(got))
		}
	}
}

// readFirst is a connection whose first Read has been done.
type readFirst struct {
	net.Conn
	r io.Reader
}

func (c readFirst) Read(p []byte) (int, error) { return c.r.Read(p) }

// The header comes in one write with the hello, has the connection's addresses, and does not
// disturb what follows.
func TestProxyProtocol(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for _, network := range []string{"tcp", "unix"} {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
			s := serveOn(t, ln, func(s *server, raw net.Conn) {
				header := appendProxyHeader(nil, version, raw.RemoteAddr(), raw.LocalAddr())
				first := make([]byte, 4<<10)
				n, _ := raw.Read(first)
				rest, found := bytes.CutPrefix(first[:n], header)
				if n == 0 {
					return // aborted before the hello
				}
				if !found {
					t.Errorf("v%d, %s: %q, want a header %q", version, network, first[:n], header)
					return
				}
				if len(rest) > 5 && len(rest) >= 5+int(rest[3])<<8+int(rest[4]) {
					s.saw("header and hello")
				} else {
					s.saw("part of the hello")
				}
				c := tls.Server(readFirst{raw, io.MultiReader(bytes.NewReader(rest), bufio.NewReader(raw))}, config)
				if c.Handshake() == nil {
					s.note(c.ConnectionState())
					s.answer(c)
				}
			})
			cfg := closedConfig()
			cfg.Targets, cfg.ProxyProtocol, cfg.TLS.ServerName = []string{s.addr()}, version, serverName
			if network == "unix" {
				cfg.Targets[0] = "unix:" + address
			}
			res := mustRun(t, t.Context(), cfg)
			want(t, "handshakes", res.Handshakes, cfg.Count)
			want(t, "headers with a hello", s.times("header and hello"), int(cfg.Count)+1)
			wantSame(t, res, s)

			// Half a hello comes after the header too.
			cfg.Count, cfg.Abort = 40, 1
			res = mustRun(t, t.Context(), cfg)
			if n := res.Aborted[abortNames[abortInHello]]; n == 0 || s.times("part of the hello") != int(n) {
				t.Errorf("%d parts of the hello, want %d", s.times("part of the hello"), n)
			}
		}
	}
}
