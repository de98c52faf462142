package httploop_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

var certificate = sync.OnceValue(func() *tls.Certificate {
	return testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "localhost")
})

func serverConfig() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{*certificate()}} }

func clientConfig() *tls.Config {
	return &tls.Config{RootCAs: testkit.Roots(certificate()), ServerName: "localhost"}
}

// serve serves on a loop of its own until the test ends.
func serve(t *testing.T, s *httploop.Server, cfg loop.Config) (*loop.Loop, net.Addr) {
	t.Helper()
	h, err := s.LoopHandler() // starts a goroutine of fasthttp's that stays
	if err != nil {
		t.Fatal(err)
	}
	l := looptest.New(t, cfg)
	return l, looptest.Listen(t, l, h)
}

// dial connects, with TLS if the server has it.
func dial(t *testing.T, s *httploop.Server, addr net.Addr) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := testkit.Dial(t, addr)
	if s.TLS != nil {
		c = tls.Client(c, clientConfig())
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// ask sends raw bytes and reads a response.
func ask(t *testing.T, c io.Writer, br *bufio.Reader, raw string) (*http.Response, string) {
	t.Helper()
	go io.WriteString(c, raw)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("no response to %.60q: %v", raw, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func wantEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("%q, %v, want the end", b, err)
	}
}

const get = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"

// echo answers with what it has got.
func echo(rc *fasthttp.RequestCtx) {
	fmt.Fprintf(rc, "%s %s %t ", rc.Method(), rc.Path(), rc.IsTLS())
	rc.Write(rc.Request.Body())
}

// both runs a test with TLS and without.
func both(t *testing.T, f func(t *testing.T, s *httploop.Server)) {
	for name, cfg := range map[string]*tls.Config{"plain": nil, "TLS": serverConfig()} {
		t.Run(name, func(t *testing.T) { f(t, &httploop.Server{Handler: echo, TLS: cfg}) })
	}
}

// Clients of net/http get their answers, and idle connections have no job.
func TestServe(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		l, addr := serve(t, s, loop.Config{})
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientConfig(), MaxIdleConnsPerHost: 10}}
		scheme := map[bool]string{false: "http://", true: "https://"}[s.TLS != nil]
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for j := range 20 {
					body := strings.Repeat("x", i*j*500)
					resp, err := client.Post(scheme+addr.String()+"/path", "text/plain", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if want := fmt.Sprint("POST /path ", s.TLS != nil, " ", body); string(b) != want || err != nil {
						t.Errorf("%.60q, %v, want %.60q", b, err, want)
					}
				}
			})
		}
		wg.Wait()
		if s := looptest.Settle(t, l); s.Conns == 0 || s.JobsPaused != 0 {
			t.Errorf("%d connections, %d paused jobs", s.Conns, s.JobsPaused)
		}
		client.CloseIdleConnections()
	})
}

// Bodies are bounded in memory.
func TestMaxBody(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.MaxBody = 10
		_, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		if resp, _ := ask(t, c, br, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		if resp, _ := ask(t, c, br, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n0123456789a"); resp.StatusCode != 413 || !resp.Close {
			t.Error(resp.Status)
		}
		wantEnd(t, br)
	})
}

// A body of any size goes through a handler as it comes, and no faster than it is taken.
func TestStreams(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.StreamBody = true
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if body := rc.RequestBodyStream(); body != nil && string(rc.Path()) == "/echo" {
				rc.SetBodyStream(body, -1)
			}
		}
		l, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		data := make([]byte, 32<<20) // more than sockets hold
		rand.Read(data)
		fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(data))
		written := make(chan error, 1)
		go func() { _, err := c.Write(data); written <- err }()
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The client does not read, so the server stops reading, and its loop serves others.
		testkit.Eventually(t, "the job waits", func() bool { return l.Stats().JobsPaused == 1 })
		other, obr := dial(t, s, addr)
		ask(t, other, obr, get)
		if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := testkit.Receive(t, written); err != nil {
			t.Error(err)
		}
		// What the handler leaves of a body is skipped, if it is not too much.
		ask(t, c, br, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		ask(t, c, br, get)
		if resp, _ := ask(t, c, br, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 1<<20, data[:1<<20])); !resp.Close {
			t.Error("the connection goes on behind a megabyte that nobody has read")
		}
	})
}

// The times and numbers of requests are bounded.
func TestLimits(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.MaxRequests = 2
		_, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		if resp, _ := ask(t, c, br, get); resp.Close {
			t.Error("closed after the first")
		}
		if resp, _ := ask(t, c, br, get); !resp.Close {
			t.Error("not closed after the second")
		}
		wantEnd(t, br)
	})
	both(t, func(t *testing.T, s *httploop.Server) {
		s.IdleTimeout, s.RequestTimeout = 50*time.Millisecond, 50*time.Millisecond
		_, addr := serve(t, s, loop.Config{})
		for _, raw := range []string{"", "GET / HTTP/1.1\r\nHost:", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab"} {
			c, br := dial(t, s, addr)
			if _, err := io.WriteString(c, raw); err != nil {
				t.Error(err)
			}
			wantEnd(t, br)
		}
	})
}

// Shutdown says goodbye to idle connections at once, and lets a request end.
func TestShutdown(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if string(rc.Path()) == "/slow" {
				close(begun)
				if err := loop.Await(httploop.Context(rc), func(done func()) { go func() { <-goOn; done() }() }); err != nil {
					t.Error(err)
				}
			}
			rc.WriteString("done")
		}
		l, addr := serve(t, s, loop.Config{})
		idle, ibr := dial(t, s, addr)
		ask(t, idle, ibr, get)
		slow, sbr := dial(t, s, addr)
		io.WriteString(slow, strings.Replace(get, "/x", "/slow", 1))
		testkit.Receive(t, begun)
		down := make(chan error, 1)
		go func() { down <- l.Shutdown(context.Background()) }()
		wantEnd(t, ibr)
		close(goOn)
		if resp, body := ask(t, io.Discard, sbr, ""); body != "done" || !resp.Close {
			t.Errorf("%q, close %v", body, resp.Close)
		}
		wantEnd(t, sbr)
		slow.Close()
		idle.Close()
		if err := testkit.Receive(t, down); err != nil {
			t.Error(err)
		}
	})
}

// A connection that is hijacked speaks another protocol: on the loop, or on a goroutine
// after it has been detached. Nothing that came early is lost.
func TestHijack(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		ended := make(chan error, 2)
		s.Handler = func(rc *fasthttp.RequestCtx) {
			rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
			rc.Response.Header.Set("Connection", "Upgrade")
			rc.Response.Header.Set("Upgrade", "echo")
			detach := string(rc.Path()) == "/detach"
			httploop.Hijack(rc, func(_ context.Context, c *httploop.HijackedConn) error {
				if !detach {
					_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
					ended <- err
					return err
				}
				nc, err := c.Detach()
				if err != nil {
					ended <- err
					return err
				}
				go func() {
					defer nc.Close()
					_, err := io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
					ended <- err
				}()
				return nil
			})
		}
		l, addr := serve(t, s, loop.Config{})
		for _, path := range []string{"/stay", "/detach"} {
			c, br := dial(t, s, addr)
			io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ")
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%s: %v, %v", path, resp, err)
			}
			testkit.WantRead(t, br, "early ")
			io.WriteString(c, "late")
			testkit.WantRead(t, br, "late")
			if path == "/detach" {
				if s := looptest.Settle(t, l); s.Conns != 0 {
					t.Errorf("the loop has %d connections", s.Conns)
				}
			}
			c.Close()
			if err := testkit.Receive(t, ended); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}

// A connection that is hijacked and parked has no job until something comes, which may be
// more than one read takes. Shutdown tells its handler.
func TestHijackPark(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		ended := make(chan error, 1)
		var echo httploop.HijackHandler
		echo = func(_ context.Context, c *httploop.HijackedConn) error {
			for c.Readable() {
				var b [3]byte
				n, err := c.Read(b[:])
				if err == nil {
					_, err = c.Write(b[:n])
				}
				if err != nil {
					ended <- err
					return err
				}
			}
			return c.Park(echo)
		}
		s.Handler = func(rc *fasthttp.RequestCtx) {
			rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
			httploop.Hijack(rc, echo)
		}
		l, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		io.WriteString(c, get+"early ")
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		testkit.WantRead(t, br, "early ")
		for range 3 {
			if s := looptest.Settle(t, l); s.Conns != 1 || s.JobsPaused != 0 {
				t.Errorf("%d connections, %d paused jobs", s.Conns, s.JobsPaused)
			}
			io.WriteString(c, "some more")
			testkit.WantRead(t, br, "some more")
		}
		looptest.Settle(t, l)
		down := make(chan error, 1)
		go func() { down <- l.Shutdown(context.Background()) }()
		if err := testkit.Receive(t, ended); !errors.Is(err, loop.ErrShutdown) {
			t.Error(err)
		}
		wantEnd(t, br)
		c.Close()
		if err := testkit.Receive(t, down); err != nil {
			t.Error(err)
		}
	})
}

// Connections have a value of the user's, which httploop does not use itself.
func TestValue(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		type valued interface {
			Value() any
			SetValue(any)
		}
		want := "<nil> "
		if s.TLS != nil {
			want = "new "
			s.OnHandshake = func(c *loop.TLSConn, _ time.Duration, _ error) { c.SetValue("new") }
		}
		s.Handler = func(rc *fasthttp.RequestCtx) {
			c := rc.Conn().(valued)
			fmt.Fprint(rc, c.Value(), " ")
			c.SetValue(string(rc.Path()))
		}
		s.MaxRequests = 3
		_, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		for _, path := range []string{"/a", "/b", "/c"} {
			resp, got := ask(t, c, br, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if got != want || resp.Close != (path == "/c") {
				t.Errorf("%s: the value is %q, want %q; close %v", path, got, want, resp.Close)
			}
			want = path + " "
		}
		wantEnd(t, br)
	})
}

// Without a job, Context is the RequestCtx: a handler can be tested by itself.
func TestHandlerAlone(t *testing.T) {
	var rc fasthttp.RequestCtx
	if httploop.Context(&rc) != context.Context(&rc) {
		t.Error("Context is not the RequestCtx itself")
	}
}

// What makes absolute addresses knows whether there is TLS.
func TestScheme(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.Handler = func(rc *fasthttp.RequestCtx) { rc.Redirect("/login?a=b", fasthttp.StatusFound) }
		_, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		want := "http://localhost/login?a=b"
		if s.TLS != nil {
			want = "https://localhost/login?a=b"
		}
		if resp, _ := ask(t, c, br, get); resp.Header.Get("Location") != want {
			t.Errorf("redirected to %q, want %q", resp.Header.Get("Location"), want)
		}
	})
}

// The OnClose of a connection comes last.
func TestHooks(t *testing.T) {
	var order []string
	hooks := make(chan string, 10)
	s := &httploop.Server{
		TLS:         serverConfig(),
		OnHello:     func(*loop.TLSConn) { hooks <- "hello" },
		OnHandshake: func(*loop.TLSConn, time.Duration, error) { hooks <- "handshake" },
		Handler:     func(*fasthttp.RequestCtx) { hooks <- "request" },
		OnResponse:  func(*fasthttp.RequestCtx) { hooks <- "response" },
		OnClose:     func(*loop.TLSConn) { hooks <- "close" },
	}
	_, addr := serve(t, s, loop.Config{})
	c, br := dial(t, s, addr)
	ask(t, c, br, get)
	c.Close()
	for len(order) < 5 {
		order = append(order, testkit.Receive(t, hooks))
	}
	if got := strings.Join(order, " "); got != "hello handshake request response close" {
		t.Error(got)
	}
}

// A hijacked connection does not read the request's body as its protocol. What a handler
// has left of it is skipped, or the connection ends.
func TestHijackWithBody(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.StreamBody = true
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if string(rc.Path()) == "/reset" {
				rc.Request.SetBodyString("its own")
			}
			httploop.Hijack(rc, func(_ context.Context, c *httploop.HijackedConn) error {
				_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				return err
			})
		}
		_, addr := serve(t, s, loop.Config{})
		for _, head := range []string{"POST / HTTP/1.1\r\n", "POST /reset HTTP/1.1\r\n", "POST / HTTP/1.1\r\nConnection: close\r\n", "POST / HTTP/1.0\r\n"} {
			for _, size := range []int{0, 5, 300_000} {
				c, br := dial(t, s, addr)
				raw := fmt.Sprintf("%sHost: x\r\nContent-Length: %d\r\n\r\n%sprotocol", head, size, strings.Repeat("b", size))
				go func() { io.WriteString(c, raw) }()
				if _, err := http.ReadResponse(br, &http.Request{Method: "HEAD"}); err != nil {
					t.Fatal(err)
				}
				if size == 300_000 {
					if b, _ := io.ReadAll(br); len(b) > 0 {
						t.Errorf("%q: a large body was read as the protocol: %.20q", head, b)
					}
				} else {
					testkit.WantRead(t, br, "protocol")
				}
				c.Close()
			}
		}
	})
}

// A handler may park with some of what came early unread. It is called again for that, and
// the connection ends if it reads nothing then.
func TestHijackParkAhead(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		var one httploop.HijackHandler
		one = func(_ context.Context, c *httploop.HijackedConn) error {
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil {
				return err
			}
			if b[0] == '!' {
				return c.Park(func(_ context.Context, c *httploop.HijackedConn) error { return c.Park(one) })
			}
			if _, err := c.Write(b[:]); err != nil {
				return err
			}
			return c.Park(one)
		}
		s.Handler = func(rc *fasthttp.RequestCtx) {
			rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
			httploop.Hijack(rc, one)
		}
		_, addr := serve(t, s, loop.Config{Logger: slog.New(slog.DiscardHandler)})
		for _, early := range []string{"abc", "abc!more"} {
			c, br := dial(t, s, addr)
			io.WriteString(c, get+early)
			if _, err := http.ReadResponse(br, nil); err != nil {
				t.Fatal(err)
			}
			testkit.WantRead(t, br, "abc")
			if early == "abc" {
				io.WriteString(c, "d")
				testkit.WantRead(t, br, "d")
			} else if b, _ := io.ReadAll(br); len(b) > 0 {
				t.Errorf("read %q", b)
			}
		}
	})
}

// OnResponse sees every response, and the header's limit is the one that was set.
func TestOnResponse(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		seen := make(chan string, 10)
		s.OnResponse = func(rc *fasthttp.RequestCtx) {
			_, inJob := jobs.FromContext(httploop.Context(rc))
			seen <- fmt.Sprint(rc.Response.StatusCode(), " ", inJob)
		}
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if rc.Request.Header.Peek("Upgrade") != nil {
				rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
				httploop.Hijack(rc, func(context.Context, *httploop.HijackedConn) error { return nil })
			}
		}
		const line = "GET / HTTP/1.1\r\nHost: x\r\nX: "
		s.MaxHeader = 2000
		_, addr := serve(t, s, loop.Config{})
		for _, test := range []struct {
			raw  string
			code int
		}{
			{line + strings.Repeat("x", s.MaxHeader-len(line)-4) + "\r\n\r\n", 200},
			{line + strings.Repeat("x", s.MaxHeader-len(line)-3) + "\r\n\r\n", 431},
			{"nonsense\r\n\r\n", 400},
			{"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: y\r\n\r\n", 101},
		} {
			c, br := dial(t, s, addr)
			ask(t, c, br, get)
			if got := testkit.Receive(t, seen); got != "200 true" {
				t.Errorf("the first response: %s", got)
			}
			io.WriteString(c, test.raw)
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != test.code {
				t.Fatalf("%d bytes: %v, %v, want %d", len(test.raw), resp, err, test.code)
			}
			if got, want := testkit.Receive(t, seen), fmt.Sprint(test.code, " true"); got != want {
				t.Errorf("OnResponse saw %s, want %s", got, want)
			}
		}
	})
}

// The answers to pipelined requests are sent, whatever becomes of the next one.
func TestPipelined(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		seen := make(chan bool)
		var closed atomic.Int32
		s.Handler = func(rc *fasthttp.RequestCtx) {
			switch string(rc.Path()) {
			case "/first":
				rc.WriteString("first")
			case "/panic":
				rc.SetBodyStream(closer{strings.NewReader("x"), &closed}, 1)
				panic("for once")
			case "/Goexit":
				runtime.Goexit()
			case "/hijack":
				rc.Hijack(func(net.Conn) {})
			case "/timeout":
				rc.TimeoutError("late")
			case "/fails":
				rc.SetBodyStream(iotest.ErrReader(errors.New("bad disk")), -1)
			case "/100":
				rc.SetStatusCode(100)
			case "/waits": // for the client to have the first answer
				if err := loop.Await(httploop.Context(rc), func(done func()) { go func() { <-seen; done() }() }); err != nil {
					t.Error(err)
				}
			default: // whatever others have done to their RequestCtx
				fmt.Fprint(rc, rc.Hijacked(), rc.LastTimeoutErrorResponse() != nil)
			}
		}
		_, addr := serve(t, s, loop.Config{Logger: slog.New(slog.DiscardHandler)})
		for _, second := range []string{"/panic", "/Goexit", "/hijack", "/timeout", "/fails", "/100", "/waits"} {
			c, br := dial(t, s, addr)
			request := func(path string) string { return strings.Replace(get, "/x", path, 1) }
			if _, body := ask(t, c, br, request("/first")+request(second)+request("/after")); body != "first" {
				t.Errorf("before %s: %q", second, body)
			}
			if second == "/waits" {
				seen <- true
				for _, want := range []string{"", "false false"} {
					if _, body := ask(t, io.Discard, br, ""); body != want {
						t.Errorf("after the wait: %q, want %q", body, want)
					}
				}
			} else if b, _ := io.ReadAll(br); strings.Contains(string(b), " 200 OK\r\nDate") && second != "/fails" || strings.Contains(string(b), "false false") {
				t.Errorf("%s was answered: %q", second, b)
			}
			c.Close()
			c, br = dial(t, s, addr)
			if _, body := ask(t, c, br, request("/after")); body != "false false" {
				t.Errorf("after %s, another connection: %s", second, body)
			}
		}
		if n := closed.Load(); n != 1 {
			t.Errorf("the stream of a handler that panicked was closed %d times", n)
		}
	})
}

type closer struct {
	io.Reader
	n *atomic.Int32
}

func (c closer) Close() error { c.n.Add(1); return nil }

// An address that a handler has set is of its request alone.
func TestRemoteAddr(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.Handler = func(rc *fasthttp.RequestCtx) {
			fmt.Fprint(rc, rc.RemoteAddr())
			rc.SetRemoteAddr(&net.TCPAddr{IP: net.IPv4(1, 2, 3, 4)})
		}
		_, addr := serve(t, s, loop.Config{})
		c, br := dial(t, s, addr)
		_, first := ask(t, c, br, get+get)
		if _, second := ask(t, io.Discard, br, ""); second != first {
			t.Errorf("%s, then %s", first, second)
		}
	})
}

// Whatever a handler does to its request, the body that is streamed is not read as the next
// request.
func TestBodyIsNoRequest(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.StreamBody, s.RequestTimeout = true, 100*time.Millisecond
		handlers := map[string]func(rc *fasthttp.RequestCtx){
			"nothing":    func(*fasthttp.RequestCtx) {},
			"PostBody":   func(rc *fasthttp.RequestCtx) { rc.PostBody() },
			"SetBody":    func(rc *fasthttp.RequestCtx) { rc.Request.SetBodyString("its own") },
			"ResetBody":  func(rc *fasthttp.RequestCtx) { rc.Request.ResetBody() },
			"Reset":      func(rc *fasthttp.RequestCtx) { rc.Request.Reset() },
			"CloseBody":  func(rc *fasthttp.RequestCtx) { rc.Request.CloseBodyStream() },
			"WrapStream": func(rc *fasthttp.RequestCtx) { rc.Request.SetBodyStream(io.LimitReader(rc.RequestBodyStream(), 3), -1) },
			"SetMethod":  func(rc *fasthttp.RequestCtx) { rc.Request.Header.SetMethod("HEAD") },
			"OnResponse": func(rc *fasthttp.RequestCtx) { rc.SetUserValue("close", true) },
		}
		s.OnResponse = func(rc *fasthttp.RequestCtx) {
			if rc.UserValue("close") != nil {
				rc.SetConnectionClose()
			}
		}
		var smuggled atomic.Int32
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if string(rc.Path()) == "/smuggled" {
				smuggled.Add(1)
			}
			handlers[string(rc.Request.Header.Peek("Do"))](rc)
		}
		_, addr := serve(t, s, loop.Config{})
		const inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\nDo: nothing\r\n\r\n"
		for do := range handlers {
			for what, body := range map[string]string{
				"whole":         fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner),
				"late":          fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 2*len(inner), inner),
				"bad chunk":     "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + inner,
				"both lengths":  "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
				"trailer by LF": "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\n\n" + inner,
			} {
				c, br := dial(t, s, addr)
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nDo: "+do+"\r\n"+body)
				if what == "whole" {
					io.WriteString(c, strings.Replace(get, "Host", "Connection: close\r\nDo: nothing\r\nHost", 1))
				}
				io.Copy(io.Discard, br)
				c.Close()
				if smuggled.Swap(0) > 0 {
					t.Errorf("%s, body %s: it was read as a request", do, what)
				}
			}
		}
	})
}

// A panic of the handler ends its connection, and no other.
func TestHandlerPanics(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.Handler = func(rc *fasthttp.RequestCtx) {
			if string(rc.Path()) == "/panic" {
				panic("for once")
			}
		}
		_, addr := serve(t, s, loop.Config{Logger: slog.New(slog.DiscardHandler)})
		good, gbr := dial(t, s, addr)
		ask(t, good, gbr, get)
		bad, bbr := dial(t, s, addr)
		io.WriteString(bad, strings.Replace(get, "/x", "/panic", 1))
		if b, _ := io.ReadAll(bbr); len(b) > 0 {
			t.Errorf("answered %q", b)
		}
		ask(t, good, gbr, get)
	})
}

// RequestCtx.Logger logs to the loop's logger, and does not wait for it.
func TestLogger(t *testing.T) {
	both(t, func(t *testing.T, s *httploop.Server) {
		s.Handler = func(rc *fasthttp.RequestCtx) { rc.Logger().Printf("number %d", 7) }
		var out testkit.Log
		release := make(chan bool)
		_, addr := serve(t, s, loop.Config{Logger: slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
			<-release
			return out.Write(p)
		}), nil))})
		c, br := dial(t, s, addr)
		for range 2 {
			ask(t, c, br, get)
		}
		close(release)
		testkit.Eventually(t, "both are logged", func() bool { return strings.Count(out.String(), "number 7") == 2 })
		if line := out.Lines()[0]; !strings.Contains(line, "level=INFO") {
			t.Error(line)
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInvalidServer(t *testing.T) {
	for what, s := range map[string]*httploop.Server{
		"no handler":        {},
		"negative body":     {Handler: echo, MaxBody: -1},
		"negative requests": {Handler: echo, MaxRequests: -1},
		"small header":      {Handler: echo, MaxHeader: 1023},
		"large header":      {Handler: echo, MaxHeader: 1<<20 + 1},
		"negative memory":   {Handler: echo, FreeMemory: -1},
		"HTTP/2":            {Handler: echo, TLS: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}},
	} {
		if _, err := s.LoopHandler(); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
