package load

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests the request after a handshake, and how connections end.

// chunked is an answer in chunks, with a trailer.
func chunked(n int) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n")
	w := httputil.NewChunkedWriter(&b)
	for part := make([]byte, 3000); n > 0; n -= len(part) {
		w.Write(part)
	}
	w.Close()
	b.WriteString("Sum: 1\r\n\r\n")
	return b.String()
}

func TestAnswers(t *testing.T) {
	const big = 300 << 10 // more than the buffers on the way hold
	for _, test := range []struct {
		name, answer string
		kind         string // empty: success
		hangUp       bool
	}{
		{name: "short", answer: okAnswer},
		{name: "empty", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "long", answer: longAnswer(big)},
		{name: "chunked", answer: chunked(10)},
		{name: "long and chunked", answer: chunked(big)},
		{name: "up to the end", answer: "HTTP/1.1 200 OK\r\n\r\n" + string(make([]byte, big)), hangUp: true},
		{name: "interim", answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okAnswer},
		{name: "404", answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", kind: "status 404"},
		{name: "503 without a body", answer: "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", kind: "status 503"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\n\r\n", kind: "status 304"},
		{name: "redirection", answer: "HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", kind: "status 301"},
		{name: "not HTTP", answer: "SSH-2.0-OpenSSH_9.2\r\n\r\n", kind: kindProtocol},
		{name: "bad chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", kind: kindProtocol},
		{name: "nothing", answer: "", kind: kindClosed, hangUp: true},
		{name: "half a header", answer: "HTTP/1.1 200 OK\r\nContent-", kind: kindClosed, hangUp: true},
		{name: "half a body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", kind: kindClosed, hangUp: true},
		{name: "half the chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", kind: kindClosed, hangUp: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
				switch {
				case s.handshakes.Load() == 1:
					s.answer(c)
				case test.hangUp:
					readRequest(c)
					io.WriteString(c, test.answer)
					c.CloseWrite()
					io.Copy(io.Discard, c)
				default:
					s.answerWith(c, test.answer)
				}
			})
			cfg := closedConfig(s)
			cfg.Count, cfg.Connections, cfg.Rate = 3, 3, 1000 // an open loop: no pause after a failure
			res := mustRun(t, t.Context(), cfg)
			if test.kind != "" {
				wantErrors(t, res, test.kind, 3)
				want(t, "TLS handshakes", res.Total.Handshakes, 4)
				return
			}
			wantErrors(t, res, "", 0)
			want(t, "handshakes", res.Handshakes, 3)
			want(t, "first bytes", res.Phases.FirstByte.Count, 3)
			if res.BytesRead < 3*int64(len(test.answer)) {
				t.Errorf("%d bytes read, the answers alone have %d", res.BytesRead, 3*len(test.answer))
			}
			if res.BytesWritten < 3*100 {
				t.Errorf("%d bytes written", res.BytesWritten)
			}
		})
	}
}

// readRequest reads a request of this package.
func readRequest(c io.Reader) { c.Read(make([]byte, 4<<10)) }

func TestRequest(t *testing.T) {
	s := serveTLS(t, nil, nil)
	_, port, _ := strings.Cut(s.addr(), ":")
	cfg := closedConfig(s)
	cfg.Request, cfg.Count, cfg.TLS.ServerName = "/a/b?c=d", 5, serverName
	cfg.Targets[0] = "localhost:" + port // looked up once, for the probe
	res := mustRun(t, t.Context(), cfg)
	want(t, "target", res.Targets[0].Target, cfg.Targets[0])
	want(t, "address", res.Targets[0].Address, s.addr())
	want(t, "requests for the path", s.times("path /a/b?c=d"), 6)
	want(t, "requests of the host", s.times("host "+serverName+":"+port), 6)
	want(t, "names asked for", s.times("sni "+serverName), 6)
}

func TestRequestText(t *testing.T) {
	for _, test := range []struct{ name, port, host string }{
		{"example.com", "443", "example.com"},
		{"example.com", "8443", "example.com:8443"},
		{"127.0.0.1", "443", "127.0.0.1"},
		{"::1", "443", "[::1]"},
		{"::1", "8443", "[::1]:8443"},
	} {
		for _, reset := range []bool{true, false} {
			text := string(requestText("/path", test.name, test.port, reset))
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			want(t, "host", req.Host, test.host)
			want(t, "path", req.RequestURI, "/path")
			want(t, "closing", req.Close, !reset)
		}
	}
}

// tap is a connection that keeps what is read from it.
type tap struct {
	net.Conn
	data []byte
}

func (p *tap) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.data = append(p.data, b[:n]...)
	return n, err
}

// goodbye reports whether the last record was an alert. crypto/tls does not distinguish
// it from the end of the connection.
func (p *tap) goodbye() bool {
	var kind byte
	length := 0
	for data := p.data; len(data) >= 5; data = data[min(5+length, len(data)):] {
		kind, length = data[0], int(binary.BigEndian.Uint16(data[3:]))
	}
	return kind == 21 || kind == 23 && length == 2+1+16 // encrypted: alert, type, tag
}

// Without a reset, the client sends a close_notify alert. With a reset, the server has
// nothing to wait for.
func TestEndOfConnections(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, request := range []string{"", "/"} {
			for _, reset := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, request %q, reset %v", tls.VersionName(version), request, reset), func(t *testing.T) {
					s := serve(t, func(s *server, raw net.Conn) {
						tapped := &tap{Conn: raw}
						if c := tls.Server(tapped, config); c.Handshake() == nil {
							s.note(c.ConnectionState())
							s.answer(c)
						}
						s.saw(fmt.Sprintf("goodbye %v", tapped.goodbye()))
					})
					cfg := closedConfig(s)
					cfg.TLS.Version, cfg.Request, cfg.Reset, cfg.Count = version, request, reset, 10
					res := mustRun(t, t.Context(), cfg)
					want(t, "handshakes", res.Handshakes, 10)
					goodbyes, resets := 11, 0
					if reset { // all except the probe's
						goodbyes, resets = 1, 10
					}
					testkit.Eventually(t, "all connections end", func() bool {
						return s.times("goodbye true") == goodbyes && s.times("goodbye false") == resets
					})
					if reset && request == "" && version == tls.VersionTLS13 {
						return // the reset may overtake the end of the server's handshake
					}
					wantSame(t, res, s)
					want(t, "resets", s.resets.Load(), int64(resets))
					want(t, "ends", s.ends.Load(), int64(goodbyes))
				})
			}
		}
	}
}
