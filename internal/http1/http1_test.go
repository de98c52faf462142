package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/testkit"
)

// verdicts starts a server and returns what it answers to raw bytes, after which the
// client ends its side: a code and a body for each response.
func verdicts(t *testing.T, serve func(net.Listener)) func(raw string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go serve(ln)
	return func(raw string) string {
		c := testkit.Dial(t, ln.Addr())
		defer c.Close()
		go func() {
			io.WriteString(c, raw)
			c.(*net.TCPConn).CloseWrite()
		}()
		br := bufio.NewReader(c)
		method, _, _ := strings.Cut(strings.TrimLeft(raw, "\r\n"), " ")
		var all []string
		for {
			resp, err := http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				return strings.Join(all, ", ")
			}
			b, _ := io.ReadAll(resp.Body)
			if text := fmt.Sprint(resp.StatusCode); resp.StatusCode == http.StatusOK {
				all = append(all, text+" "+string(b))
			} else {
				all = append(all, text)
			}
			if resp.StatusCode != http.StatusContinue {
				method = ""
			}
		}
	}
}

// serveHere answers with the length of the body, as a user of the package does. With
// stream, the body is read as it comes.
func serveHere(ln net.Listener, stream bool) {
	pool := NewPool(DefaultHeader)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			x := pool.Get(c)
			defer x.Release()
			for x.Wait() == nil {
				err := x.ReadRequest(maxBody, stream)
				n := 0
				if err == nil && stream && x.Req.IsBodyStream() {
					var b []byte
					b, err = io.ReadAll(io.LimitReader(x.Req.BodyStream(), maxBody+1))
					if n = len(b); err == nil && n > maxBody {
						err = fasthttp.ErrBodyTooLarge
					}
				} else if err == nil {
					n = len(x.Req.Body())
				}
				if err != nil {
					if x.Refuse(err) {
						x.Respond(true)
					}
					break
				}
				x.Resp.Reset()
				x.Resp.SetBodyString(fmt.Sprint(n, " bytes"))
				if x.Respond(x.Last()) != nil || x.Last() {
					break
				}
			}
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}()
	}
}

func serveNetHTTP(ln net.Listener) {
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: 4 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, len(b), " bytes")
	})}
	s.Serve(ln)
}

const maxBody = 1 << 20

const next = "GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// requests are raw bytes, after which comes next, and what is answered. If net/http
// answers something else, why says why we do not.
var requests = []struct{ raw, want, why string }{
	{"", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.0\r\n\r\n", "200 0 bytes", ""},
	{"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "200 , 200 0 bytes", ""},
	{"get / HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "200 3 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "200 3 bytes, 200 0 bytes", ""},

	// Connection (RFC 9110, section 7.6.1)
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nCONNECTION: CLOSE\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, keep-alive\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: a,close ,b\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection:\tclose\t\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo\r\nConnection: close\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: foo\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: not close\r\n\r\n", "200 0 bytes, 200 0 bytes", "net/http takes a space for a comma"},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection:\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.0\r\nConnection: foo, keep-alive\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "200 0 bytes", "RFC 9112, section 9.3: close comes first"},
	{"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", "200 0 bytes", "as before"},
	{"GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", "200 0 bytes", ""},
	{"GET / HTTP/1.0\r\nConnection: foo\r\n\r\n", "200 0 bytes", ""},

	// Expect (RFC 9110, section 10.1.1)
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", "100, 200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc", "100, 200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nEXPECT:100-CONTINUE\r\n\r\nabc", "100, 200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: foo\r\n\r\nabc", "417", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100\r\n\r\nabc", "417", ""},
	{"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", "200 3 bytes", ""},

	// Versions (RFC 9112, section 2.3)
	{"GET / HTTP/1.2\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.9\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505", ""},
	{"GET / HTTP/0.9\r\nHost: x\r\n\r\n", "505", ""},
	{"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "505", ""},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "net/http lets a handler answer the preface of HTTP/2"},
	{"GET / HTTP/3\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.10\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/01.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1,1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/x.y\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/-1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / http/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTPS/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / FTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\t\r\nHost: x\r\n\r\n", "400", ""},
	{"GET /\r\n\r\n", "400", ""},
	{"GET\r\n\r\n", "400", ""},
	{" \r\n\r\n", "400", ""},
	{"nonsense\r\n\r\n", "400", ""},

	// Line ends (RFC 9112, section 2.2)
	{"GET / HTTP/1.1\nHost: x\n\n", "400", "a bare LF hides requests from a server that needs CR"},
	{"GET / HTTP/1.1\r\nHost: x\n\r\n", "400", "a bare LF, again"},
	{"GET / HTTP/1.1\r\nHost: x\r\n\n", "400", "a bare LF, again"},
	{"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", "RFC 9112 wants an empty line before the request line skipped"},
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", "as before"},
	{"GET / HTTP/1.1\rHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\rFoo: y\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", "400", ""},

	// Targets
	{"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "501", "net/http's handler could answer it; here nobody makes tunnels"},
	{"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET http://x/ HTTP/1.1\r\nHost: y\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET https://x:80/a?b HTTP/1.1\r\nHost: y\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET http://[::1]:80/ HTTP/1.1\r\nHost: y\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET http:///x HTTP/1.1\r\nHost: y\r\n\r\n", "400", "it names no host"},
	{"GET http:x HTTP/1.1\r\nHost: y\r\n\r\n", "400", "as before"},
	{"GET http://a\"b<c>/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", "as in a Host field"},
	{"GET http://evil\\/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", ""},
	{"GET http://[::1/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", ""},
	{"GET http://a^b/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", ""},
	{"GET http://a%0d%0ab/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", ""},
	{"GET http://\xc3\xa4/ HTTP/1.1\r\nHost: y\r\n\r\n", "400", "as before"},
	{"GET http://a@b/ HTTP/1.1\r\nHost: y\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET x HTTP/1.1\r\nHost: y\r\n\r\n", "400", ""},
	{"OPTIONS * HTTP/1.1\r\nHost: y\r\n\r\n", "200 0 bytes, 200 0 bytes", "net/http does not ask the handler"},
	{"GET x HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{" GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", "400", ""},
	{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", "the target's escapes are the handler's, which may not decode them"},
	{"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET /#frag HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET // HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET /../.. HTTP/1.1\r\nHost: x\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},

	// Host (RFC 9112, section 3.2)
	{"GET / HTTP/1.1\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "400", "fasthttp takes an empty Host for a missing one"},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: a\x80\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x:80\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},

	// Fields (RFC 9112, section 5)
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo : bar\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo\t: bar\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\n Host: x\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo: bar\r\n baz\r\n\r\n", "400", "RFC 9112 lets a server refuse a field in several lines"},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo: bar\r\n\tbaz\r\n\r\n", "400", "as before"},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\n: bar\r\n\r\n", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo:\tbar\t\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo:\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nFoo::\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},

	// Content-Length (RFC 9112, section 6.2)
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n\r\nabc", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:3\r\n\r\nabc", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400", "RFC 9112 lets a server refuse a length given twice"},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", "400", "as before"},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3.0\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3 3\r\n\r\nabc", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "400", ""},

	// Transfer-Encoding (RFC 9112, sections 6.1 and 7.1)
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "200 20 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n00\r\n\r\n", "200 0 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nFoo: bar\r\n\r\n", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", "200 3 bytes, 200 0 bytes", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n", "400", "a bare line feed, as in a header"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nFoo: bar\n\r\n", "400", "as before"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nFoo: bar\r\n\n", "400", "as before"},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 0 bytes", "RFC 9112 wants the connection closed after both"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "200 0 bytes", "as before"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "501", "net/http looks at the bytes of a value first"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "net/http: 501"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "501", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "RFC 9112 calls its framing faulty"},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "400", ""},
	{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n", "400", ""},

	// Another protocol
	{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400", ""},
	{"\x00\x01\x02", "400", ""},
	{"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", DefaultHeader) + "\r\n\r\n", "431", ""},
}

// Requests get the same answers as from net/http, or there is a reason why not.
func TestRequestsAgainstNetHTTP(t *testing.T) {
	there := verdicts(t, serveNetHTTP)
	here := verdicts(t, func(ln net.Listener) { serveHere(ln, false) })
	hereStreaming := verdicts(t, func(ln net.Listener) { serveHere(ln, true) })
	rows := requests
	add := func(raw, want, why string) {
		rows = append(rows, struct{ raw, want, why string }{raw, want, why})
	}
	// Every byte in a method, a name and a value.
	for b := range 256 {
		c := string([]byte{byte(b)})
		both, refused := "200 0 bytes, 200 0 bytes", "400"
		want := refused
		if token(byte(b)) {
			want = both
		}
		if c != " " && c != "\n" && c != "\r" {
			add("G"+c+"T / HTTP/1.1\r\nHost: x\r\n\r\n", want, "")
		}
		if c != ":" && c != "\n" {
			add("GET / HTTP/1.1\r\nHost: x\r\nF"+c+"o: bar\r\n\r\n", want, "")
		}
		if c != "\n" {
			want = both
			if b < ' ' && b != '\t' || b == 0x7f {
				want = refused
			}
			add("GET / HTTP/1.1\r\nHost: x\r\nFoo: b"+c+"r\r\n\r\n", want, "")
		}
	}
	t.Log(len(rows), "requests")
	if len(rows) < 200 {
		t.Errorf("%d requests", len(rows))
	}
	for _, r := range rows {
		got, streaming, theirs := here(r.raw+next), hereStreaming(r.raw+next), there(r.raw+next)
		if got != r.want {
			t.Errorf("%.120q:\nanswered %q, want %q", r.raw, got, r.want)
		}
		if streaming != r.want {
			t.Errorf("%.120q:\nwith the body as a stream, answered %q, want %q", r.raw, streaming, r.want)
		}
		if (theirs == r.want) != (r.why == "") {
			t.Errorf("%.120q:\nnet/http answers %q, and here %q; why: %q", r.raw, theirs, r.want, r.why)
		}
	}
}

// token reports whether b may be in a token (RFC 9110, section 5.6.2).
func token(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || digit(b) || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// What is refused is refused at once, when its line is there, and not when the client
// has no more to say.
func TestRefusedAtOnce(t *testing.T) {
	for _, raw := range []string{
		"\x16\x03\x01", "\x00", "GET / HTTP/2.0\r\n", "GET /\r\n", "CONNECT x:1 HTTP/1.1\r\n", "GET / HTTP/1.1\n",
		"GET / HTTP/1.1\r\nHost: x\n", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n", "GET / HTTP/1.1\r\nExpect: x\r\n",
		"GET / HTTP/1.1\r\nX: y\r\n z\r\n", "GET / HTTP/1.1\r\nX y: z\r\n", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", DefaultHeader),
	} {
		client, server := net.Pipe()
		refused := make(chan error, 1)
		go func() {
			x := NewPool(DefaultHeader).Get(server)
			defer x.Release()
			err := x.ReadRequest(maxBody, false)
			if err == nil || !x.Refuse(err) {
				t.Errorf("%.60q is not refused: %v", raw, err)
			}
			refused <- x.Respond(true)
		}()
		go io.WriteString(client, raw)
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Errorf("%.60q: %v", raw, err)
		} else if b, err := io.ReadAll(resp.Body); err != nil || len(b) < 10 || !resp.Close {
			t.Errorf("%.60q: %q, %v, close %v", raw, b, err, resp.Close)
		}
		if err := testkit.Receive(t, refused); err != nil {
			t.Errorf("%.60q: %v", raw, err)
		}
		client.Close()
		server.Close()
	}
}

// A client that ends or leaves in the middle of a request gets no answer.
func TestNobodyToAnswer(t *testing.T) {
	for _, raw := range []string{"", "GET", "GET / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"} {
		x := NewPool(DefaultHeader).Get(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(raw), io.Discard})
		if err := x.ReadRequest(maxBody, false); err == nil || x.Refuse(err) {
			t.Errorf("%q: %v is answered", raw, err)
		}
		x.Release()
	}
}

// together returns its bytes and io.EOF in one call, as a tls.Conn may.
type together struct {
	data    string
	written *strings.Builder
}

func (t *together) Read(p []byte) (int, error) {
	n := copy(p, t.data)
	t.data = t.data[n:]
	return n, io.EOF
}

func (t *together) Write(p []byte) (int, error) { return t.written.Write(p) }

// No answer is lost when the client's end comes together with its last request, or with
// a part of one.
func TestEndWithTheLastRequest(t *testing.T) {
	for _, rest := range []string{"", "GET /half HTT"} {
		var out strings.Builder
		x := NewPool(DefaultHeader).Get(&together{"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + rest, &out})
		if err := errors.Join(x.Wait(), x.ReadRequest(maxBody, false)); err != nil {
			t.Fatal(err)
		}
		x.Resp.SetBodyString("answer")
		if err := x.Respond(false); err != nil {
			t.Fatal(err)
		}
		err := x.Wait()
		if err == nil {
			if err = x.ReadRequest(maxBody, false); x.Refuse(err) {
				t.Errorf("%v is answered", err)
			}
		}
		if err == nil || !strings.HasSuffix(out.String(), "answer") {
			t.Errorf("rest %q: error %v, written %q", rest, err, out.String())
		}
		x.Release()
	}
}
