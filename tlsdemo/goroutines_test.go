package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/internal/testkit"
)

// onGoroutines gives --goroutines to the servers of the test.
func onGoroutines(t *testing.T) {
	serveFlags = []string{"--goroutines"}
	t.Cleanup(func() { serveFlags = nil })
}

// What holds for event loops also holds for goroutines.
func TestGoroutines(t *testing.T) {
	for _, test := range []struct {
		name string
		test func(*testing.T)
	}{
		{"KeepAlive", TestKeepAlive},
		{"Requests", TestRequests},
		{"Timeouts", TestTimeouts},
		{"BodyInParts", TestBodyInParts},
		{"HandshakeTimeout", TestHandshakeTimeout},
		{"TLSMin", TestTLSMin},
		{"Reload", TestReload},
		{"ReloadInMemory", TestReloadInMemory},
		{"ReloadAcrossEngines", TestReloadAcrossEngines},
		{"ReloadUnderLoad", TestReloadUnderLoad},
		{"Stop", TestStop},
		{"DrainTimeout", TestDrainTimeout},
		{"SecondSignal", TestSecondSignal},
		{"SocketActivation", TestSocketActivation},
		{"OffloadMetrics", TestOffloadMetrics},
		{"PlainSignatureMetrics", TestPlainSignatureMetrics},
		{"ServeWithoutMultibuffer", TestServeWithoutMultibuffer},
	} {
		t.Run(test.name, func(t *testing.T) {
			onGoroutines(t)
			test.test(t)
		})
	}
}

func TestGoroutinesFirstLine(t *testing.T) {
	withMultibuffer(t)
	onGoroutines(t)
	const lanes = "multibuffer (RSA key, this CPU has AVX-512 IFMA)"
	for _, test := range []struct{ args, key, engine string }{
		{"", "rsa2048", lanes},
		{"--loops 1 --key rsa4096 --engine multibuffer", "rsa4096", lanes},
		{"--key ecdsa-p256", "ecdsa-p256", "none (ECDSA key)"},
		{"--engine none", "rsa2048", "none (as asked for)"},
		{"--engine offload --engine-workers 2", "rsa2048", "offload (RSA key)"},
	} {
		s := serve(t, strings.Fields(test.args)...)
		want := fmt.Sprintf("serving https://%s (goroutines, %s certificate made in memory); engine: %s\n", s.addr, test.key, test.engine)
		if s.first != want {
			t.Errorf("%s: %q, want %q", test.args, s.first, want)
		}
		shakeHands(t, s)
		s.stop()
	}
}

func TestGoroutinesUnixSocket(t *testing.T) {
	onGoroutines(t)
	path := filepath.Join(t.TempDir(), "socket")
	s := start(t, program(t, "serve", "--key", "ecdsa-p256", "--addr", "unix:"+path))
	if got := s.line(); !strings.HasPrefix(got, "serving unix:"+path+" (goroutines, ") {
		t.Fatalf("%q", got)
	}
	checkAnswer(t, "unix", path)
	s.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket file is still there")
	}
}

// A goroutine is neither a loop nor a job.
func TestGoroutinesAnswer(t *testing.T) {
	onGoroutines(t)
	s := serve(t, "--key", "ecdsa-p256")
	_, bodies, _ := ask(t, s, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2), "GET", "GET")
	for _, body := range bodies {
		if !strings.HasSuffix(body, "\nloop: 0\njob: 0\n") {
			t.Errorf("%q", body)
		}
	}
	s.stop()
}

func TestGoroutinesRefuseLoopFlags(t *testing.T) {
	for flag, value := range map[string]string{
		"--loops": "2", "--max-jobs": "10000", "--max-wait": "1s", "--max-conns": "0",
		"--max-conns-per-address": "5", "--backlog": "7", "--engine-on-worker": "true",
	} {
		status, out, errs := output(t, "serve", "--goroutines", flag+"="+value)
		if status != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, flag) || !strings.Contains(errs, "--goroutines") {
			t.Errorf("%s=%s: status %d, stdout %q, stderr %q", flag, value, status, out, errs)
		}
	}
}

func TestGoroutinesMetrics(t *testing.T) {
	onGoroutines(t)
	s := serve(t, "--key", "ecdsa-p256", "--metrics", ":0", "--pprof", "--handshake-timeout", "5s")
	base := metricsAt(t, s)
	ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET") // and then the connection is idle
	_, _, rest := ask(t, s, "nonsense\r\n\r\n", "GET")
	wantEOF(t, "nonsense", rest)
	resp, err := http.Get("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP without TLS: %s", resp.Status)
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).CloseWrite()
	wantEOF(t, "closed by the client", c)
	got := fetch(t, base, "/metrics")
	wantMetrics(t, got,
		`jobloop_handshakes_total\{result="full",version="1\.3"\} 2`,
		`jobloop_handshakes_total\{result="error",version="none"\} 1`,
		`jobloop_handshakes_total\{result="closed",version="none"\} 1`,
		`jobloop_handshake_seconds_count 2`,
		`tlsdemo_http_responses_total\{code="200"\} 1`,
		`tlsdemo_http_responses_total\{code="400"\} 1`,
		`jobloop_engine_signature_seconds_count\{engine="none"\} 2`,
		`jobloop_engine_operations_total\{engine="offload",way="worker"\} 0`,
		`tlsdemo_build_info\{.*\} 1`,
	)
	if m := regexp.MustCompile(`.*loop="\d+".*`).FindString(got); m != "" {
		t.Errorf("a metric of a loop: %s", m)
	}
	if got := fetch(t, base, "/debug/pprof/goroutine?debug=1"); !strings.Contains(got, "goroutineConn") || strings.Contains(got, "loop.(*Loop).Run") {
		t.Errorf("these are not the goroutines of connections:\n%s", got)
	}
	s.stop()
}

// A client that sends nothing ends as a timeout.
func TestGoroutinesHandshakeTimeoutIsCounted(t *testing.T) {
	onGoroutines(t)
	s := serve(t, "--key", "ecdsa-p256", "--metrics", ":0", "--handshake-timeout", "50ms")
	base := metricsAt(t, s)
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantEOF(t, "no handshake", c)
	wantMetrics(t, fetch(t, base, "/metrics"), `jobloop_handshakes_total\{result="timeout",version="none"\} 1`)
	s.stop()
}

// The engine does the goroutines' signatures, in lanes or alone.
func TestGoroutinesMultibufferMetrics(t *testing.T) {
	withMultibuffer(t)
	onGoroutines(t)
	s := serve(t, "--metrics", ":0")
	base := metricsAt(t, s)
	shakeHands(t, s)
	got := fetch(t, base, "/metrics")
	wantMetrics(t, got,
		`jobloop_engine_operations_total\{engine="multibuffer",way="direct"\} 0`,
		`jobloop_engine_signature_seconds_count\{engine="multibuffer"\} 12`,
		`jobloop_multibuffer_fallbacks_total 0`)
	n := 0
	for _, way := range []string{"lanes", "alone"} {
		m := regexp.MustCompile(`jobloop_engine_operations_total\{engine="multibuffer",way="` + way + `"\} (\d+)`).FindStringSubmatch(got)
		if m == nil {
			t.Fatalf("no operations %s in\n%s", way, got)
		}
		var k int
		fmt.Sscan(m[1], &k)
		n += k
	}
	if n != handshakesAtATime {
		t.Errorf("%d signatures by the engine, want %d", n, handshakesAtATime)
	}
	s.stop()
}

// lockedBuffer is a log that a test reads while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// goroutinesHere starts a goroutineServer in the test's process. At the end of the
// test nothing of it may be left.
func goroutinesHere(t *testing.T, config *tls.Config) (s *goroutineServer, log *lockedBuffer, results func() []error) {
	t.Helper()
	new(fasthttp.Response).WriteTo(io.Discard) // starts a goroutine that stays
	testkit.CheckLeaks(t)
	var mu sync.Mutex
	var got []error
	log = new(lockedBuffer)
	s = newGoroutineServer(&responder{requestTimeout: time.Minute, idleTimeout: time.Minute}, config, time.Minute,
		func(_ tlsConn, _ time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, err)
		}, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if _, err := s.listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	go s.run()
	return s, log, func() []error {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func (s *goroutineServer) dial(t *testing.T) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// visit makes a request on a connection that stays open.
func visit(t *testing.T, c *tls.Conn, br *bufio.Reader) *http.Response {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	return resp
}

// A server that stops leaves nothing, whatever its connections do.
func TestGoroutinesLeaveNothing(t *testing.T) {
	s, log, _ := goroutinesHere(t, &tls.Config{Certificates: []tls.Certificate{*testCertificate(t, "ecdsa-p256")}})
	silent, err := net.Dial("tcp", s.ln.Addr().String()) // accepted before the others
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	idle := s.dial(t)
	idleReader := bufio.NewReader(idle)
	visit(t, idle, idleReader)
	half := s.dial(t)
	halfReader := bufio.NewReader(half)
	io.WriteString(half, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	halfReader.ReadString('\n') // 100 Continue: the request is being read
	halfReader.ReadString('\n')
	if got := s.conns(); got != 3 {
		t.Fatalf("%d connections, want 3", got)
	}

	s.closing.Store(true)
	done := make(chan error, 1)
	go func() { done <- s.shutdown(context.Background()) }()
	wantEOF(t, "idle", idleReader)
	wantEOF(t, "silent", silent)
	select {
	case err := <-done:
		t.Fatalf("stopped during a request: %v", err)
	default:
	}
	io.WriteString(half, "abc")
	resp, err := http.ReadResponse(halfReader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || !resp.Close || !strings.Contains(string(body), "body: 3 bytes") {
		t.Errorf("close %v, body %q, %v", resp.Close, body, err)
	}
	wantEOF(t, "half", halfReader)
	half.Close()
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
	if s.conns() != 0 {
		t.Errorf("%d connections are left", s.conns())
	}
	if got := log.String(); !strings.Contains(got, errStopping.Error()) || strings.Count(got, "\n") != 1 {
		t.Errorf("logged %q, want one line about the silent connection", got)
	}
}

// lateListener accepts a last connection when it is closed.
type lateListener struct {
	net.Listener
	last   chan net.Conn
	closed chan struct{}
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.closed
	select {
	case c := <-l.last:
		return c, nil
	default:
		return nil, net.ErrClosed
	}
}

func (l *lateListener) Close() error {
	close(l.closed)
	return l.Listener.Close()
}

// A client that was accepted when the server was about to stop gets its answer.
func TestGoroutinesLastCall(t *testing.T) {
	s, _, _ := goroutinesHere(t, &tls.Config{Certificates: []tls.Certificate{*testCertificate(t, "ecdsa-p256")}})
	ln := &lateListener{s.ln, make(chan net.Conn, 1), make(chan struct{})}
	late := newGoroutineServer(s.responder, s.config, time.Minute, s.onHandshake, s.log)
	late.ln = ln
	s.close()
	<-s.accepted

	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	client, err := net.Dial("tcp", raw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := raw.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ln.last <- server
	go late.run()
	s.closing.Store(true)
	done := make(chan error, 1)
	go func() { done <- late.shutdown(context.Background()) }()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	if resp := visit(t, c, bufio.NewReader(c)); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	c.Close()
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// When the time to drain is over, close ends everything at once.
func TestGoroutinesCutOff(t *testing.T) {
	s, _, _ := goroutinesHere(t, &tls.Config{Certificates: []tls.Certificate{*testCertificate(t, "ecdsa-p256")}})
	c := s.dial(t)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	bufio.NewReader(c).ReadString('\n')
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	s.close()
	io.Copy(io.Discard, c)
	testkit.Receive(t, s.drained)
}

// A panic in a handshake is logged and counted. The server goes on.
func TestGoroutinesSurvivePanics(t *testing.T) {
	cert := testCertificate(t, "ecdsa-p256")
	var calls atomic.Int64
	s, log, results := goroutinesHere(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if calls.Add(1) == 1 {
			panic("no certificate today")
		}
		return cert, nil
	}})
	if c, err := tls.Dial("tcp", s.ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		c.Close()
		t.Error("the handshake succeeded")
	}
	c := s.dial(t)
	br := bufio.NewReader(c)
	for range 2 {
		if resp := visit(t, c, br); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	}
	c.Close()
	if err := s.shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "no certificate today") || !strings.Contains(got, "goroutines_test.go") {
		t.Errorf("logged %q, want the panic and where it was", got)
	}
	if got := results(); len(got) != 2 || got[0] == nil || got[1] != nil {
		t.Errorf("the handshakes ended with %v, want an error and then none", got)
	}
}
