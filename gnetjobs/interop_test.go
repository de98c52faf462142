package gnetjobs_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// program returns a command that is ended when patience is over.
func program(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED, NOTHING IS TESTED HERE: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, args...)
}

// caFile returns a file with the certificate that clients are to trust.
func caFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ecdsaCert().Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestOpenSSL echoes with OpenSSL's client, which then sees the server close.
func TestOpenSSL(t *testing.T) {
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			ca := caFile(t)
			s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
				b, _ := c.Peek(-1)
				done := bytes.Contains(b, []byte("quit\n"))
				if echo(c); done {
					return gnet.Close
				}
				return gnet.None
			}}, withTLS(gnetjobs.Options{}))
			cmd := program(t, "openssl", "s_client", "-connect", s.addr, version, "-servername", "gnetjobs.test",
				"-CAfile", ca, "-verify_return_error", "-verify_hostname", "gnetjobs.test", "-quiet", "-no_ign_eof")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{"hello\n", string(pattern(100_000)) + "\n", "quit\n"} {
				go io.WriteString(stdin, line)
				got := make([]byte, len(line))
				if n, err := io.ReadFull(stdout, got); string(got) != line {
					t.Errorf("%d bytes of %d came back, %v", n, len(line), err)
					break
				}
			}
			if rest, err := io.ReadAll(stdout); len(rest) != 0 || err != nil {
				t.Errorf("read %q more, %v", rest, err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("openssl: %v\n%s", err, stderr.String())
			}
			s.empty(t)
		})
	}
}

// TestKeyUpdate has OpenSSL's client change its key, and ask the server to
// change its own: crypto/tls answers from inside a Read.
func TestKeyUpdate(t *testing.T) {
	s := serve(t, &handler{onTraffic: echo}, withTLS(gnetjobs.Options{}))
	cmd := program(t, "openssl", "s_client", "-connect", s.addr, "-tls1_3", "-CAfile", caFile(t))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout // where it confirms a command
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for i := range 10 {
		if i > 0 {
			// A command has to be all that s_client reads at a time.
			if _, err := io.WriteString(stdin, []string{"K\n", "k\n"}[i%2]); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() && lines.Text() != "KEYUPDATE" {
			}
		}
		line := fmt.Sprintf("echo %d", i)
		if _, err := io.WriteString(stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() && lines.Text() != line {
		}
		if lines.Text() != line {
			t.Fatalf("%q has not come back: %v", line, lines.Err())
		}
	}
	stdin.Close()
	io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("openssl: %v", err)
	}
	s.empty(t)
}

// TestKeyUpdateFull has OpenSSL's client ask for a new key while more waits to
// be sent to it than MaxOutbound allows: crypto/tls's answer is too much. The
// client itself would go on reading, so what is in between stops; and but for
// edge-triggered events the request would have to wait.
func TestKeyUpdateFull(t *testing.T) {
	onClose, closed := closings()
	filled := make(chan bool, 1)
	s := serve(t, &handler{
		onTraffic: func(c gnet.Conn) gnet.Action {
			if b, _ := c.Peek(-1); !bytes.Equal(b, []byte("fill\n")) {
				return echo(c)
			}
			c.Discard(-1)
			c.Write(make([]byte, 16<<20))
			filled <- c.OutboundBuffered() > 1<<20
			return gnet.None
		},
		onClose: onClose,
	}, withTLS(gnetjobs.Options{MaxOutbound: 64 << 10, WriteTimeout: -1}), gnet.WithEdgeTriggeredIO(true))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	cmd := program(t, "openssl", "s_client", "-connect", ln.Addr().String(), "-tls1_3", "-CAfile", caFile(t), "-quiet", "-no_ign_eof")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server := s.dial(t)
	go io.Copy(struct{ io.Writer }{server}, client) // not by splice, whose pipes package net keeps
	var full atomic.Bool
	go func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || full.Load() {
				return
			}
			client.Write(buf[:n])
		}
	}()
	for _, line := range []string{"hello\n", "fill\n", "K\n"} { // a command has to be all that s_client reads at a time
		full.Store(line != "hello\n")
		if _, err := io.WriteString(stdin, line); err != nil {
			t.Fatal(err)
		}
		switch line {
		case "hello\n":
			testkit.WantRead(t, stdout, line)
		case "fill\n":
			if !testkit.Receive(t, filled) {
				t.Fatal("the sockets have taken too much")
			}
		}
	}
	testkit.WantErr(t, testkit.Receive(t, closed), gnetjobs.ErrOutboundFull)
	client.Close()
	stdin.Close()
	io.Copy(io.Discard, stdout)
	cmd.Wait() // its connection was cut off
	s.empty(t)
}

// serveHTTP is an OnTraffic that serves HTTP/1.1 in gnet's way: it answers each
// request that has come whole. GET /N is answered with N bytes of pattern, POST
// with its own body.
func serveHTTP(c gnet.Conn) gnet.Action {
	for {
		buf, _ := c.Peek(-1)
		head, _, whole := bytes.Cut(buf, []byte("\r\n\r\n"))
		if !whole {
			return gnet.None
		}
		length := 0
		if m := contentLength.FindSubmatch(head); m != nil {
			length, _ = strconv.Atoi(string(m[1]))
		}
		if len(buf) < len(head)+4+length {
			return gnet.None
		}
		body := buf[len(head)+4:][:length]
		if path, ok := bytes.CutPrefix(head, []byte("GET /")); ok {
			size, _, _ := bytes.Cut(path, []byte(" "))
			n, err := strconv.Atoi(string(size))
			if err != nil {
				c.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
				return gnet.Close
			}
			body = patterns[:n]
		}
		response := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
		if _, err := c.Writev([][]byte{response, body}); err != nil {
			return gnet.Close
		}
		c.Discard(len(head) + 4 + length)
		if bytes.Contains(head, []byte("\r\nConnection: close")) {
			return gnet.Close
		}
	}
}

var (
	contentLength = regexp.MustCompile(`(?i)\r\ncontent-length: *(\d+)`)
	patterns      = pattern(2 << 20)
)

// TestCurl has curl send several requests on one connection.
func TestCurl(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			ca := caFile(t)
			upload := filepath.Join(t.TempDir(), "upload")
			if err := os.WriteFile(upload, patterns[:1<<20], 0o600); err != nil {
				t.Fatal(err)
			}
			s := serve(t, &handler{onTraffic: serveHTTP}, withTLS(gnetjobs.Options{}))
			common := []string{"--silent", "--show-error", "--fail", "--noproxy", "*", "--http1.1", "--cacert", ca,
				"--tlsv" + version, "--tls-max", version}
			var want bytes.Buffer
			args := common
			for _, n := range []int{0, 1, 1000, 20_000, 2 << 20} {
				args = append(args, fmt.Sprintf("https://%s/%d", s.addr, n))
				want.Write(patterns[:n])
			}
			out, err := program(t, "curl", args...).Output()
			if err != nil {
				t.Fatalf("curl: %v\n%s", err, stderrOf(err))
			}
			if !bytes.Equal(out, want.Bytes()) {
				t.Errorf("curl has read %d bytes, want %d", len(out), want.Len())
			}
			if n := s.opened.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
			out, err = program(t, "curl", append(common, "--data-binary", "@"+upload, "-H", "Expect:", fmt.Sprintf("https://%s/echo", s.addr))...).Output()
			if err != nil {
				t.Fatalf("curl: %v\n%s", err, stderrOf(err))
			}
			if !bytes.Equal(out, patterns[:1<<20]) {
				t.Errorf("curl has read %d bytes, want %d", len(out), 1<<20)
			}
		})
	}
}

func stderrOf(err error) []byte {
	var e *exec.ExitError
	errors.As(err, &e)
	if e == nil {
		return nil
	}
	return e.Stderr
}

// TestWrk has wrk send requests for a second.
func TestWrk(t *testing.T) {
	s := serve(t, &handler{onTraffic: serveHTTP}, withTLS(gnetjobs.Options{}))
	out, err := program(t, "wrk", "-d1s", "-c16", "-t1", fmt.Sprintf("https://%s/1000", s.addr)).CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
	if m == nil || string(m[1]) == "0" || bytes.Contains(out, []byte("errors")) || bytes.Contains(out, []byte("Non-2xx")) {
		t.Errorf("wrk:\n%s", out)
	}
	t.Logf("wrk:\n%s", out)
	s.empty(t)
}

// TestFastHTTP serves HTTP with a library that takes a net.Conn and blocks,
// unchanged.
func TestFastHTTP(t *testing.T) {
	web := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			if ctx.IsPost() {
				ctx.SetBody(ctx.PostBody())
				return
			}
			n, _ := strconv.Atoi(strings.TrimPrefix(string(ctx.Path()), "/"))
			ctx.SetBody(patterns[:n])
		},
		ReadTimeout:  testkit.Patience,
		WriteTimeout: testkit.Patience,
		IdleTimeout:  testkit.Patience,
	}
	warmUp(t, web)
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				s := serve(t, &handler{onOpen: inJob(t, web.ServeConn)}, wrap, gnet.WithNumEventLoop(loops))
				const clients = 8
				transport := &http.Transport{
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						return s.connect()
					},
					TLSClientConfig:     clientConfig(0),
					MaxConnsPerHost:     clients,
					MaxIdleConnsPerHost: clients,
					DisableCompression:  true,
				}
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport, Timeout: testkit.Patience}
				scheme := "http"
				if strings.HasSuffix(t.Name(), "/TLS") {
					scheme = "https"
				}
				var requests sync.WaitGroup
				var failed atomic.Bool
				for g := range clients {
					requests.Go(func() {
						for i := range 50 {
							n := (g*50 + i) * 137 % 40_000
							if err := get(client, fmt.Sprintf("%s://gnetjobs.test/%d", scheme, n), patterns[:n]); err != nil {
								failed.Store(true)
								t.Error(err)
								return
							}
						}
					})
				}
				requests.Wait()
				if err := post(client, scheme+"://gnetjobs.test/", patterns[:1<<20]); err != nil {
					t.Error(err)
				}
				if n := s.opened.Load(); n != clients && !failed.Load() {
					t.Errorf("%d connections for %d clients", n, clients)
				}
				transport.CloseIdleConnections()
				s.empty(t)
			})
		})
	}
}

// warmUp has fasthttp start the goroutine that it keeps for good.
func warmUp(t testing.TB, web *fasthttp.Server) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go web.ServeConn(server)
	client.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(client, "GET /0 HTTP/1.1\r\nHost: gnetjobs.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, client); err != nil {
		t.Fatal(err)
	}
}

func get(client *http.Client, url string, want []byte) error {
	r, err := client.Get(url)
	return wantBody(r, err, want)
}

func post(client *http.Client, url string, body []byte) error {
	r, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
	return wantBody(r, err, body)
}

func wantBody(r *http.Response, err error, want []byte) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return fmt.Errorf("status %d, %d bytes, want %d", r.StatusCode, len(got), len(want))
	}
	return nil
}

// TestPipelining proves that a handler gets requests that came in one record,
// and one that came in many.
func TestPipelining(t *testing.T) {
	s := serve(t, &handler{onTraffic: serveHTTP}, withTLS(gnetjobs.Options{}))
	c := s.dialTLS(t, clientConfig(tls.VersionTLS13))
	r := bufio.NewReader(c)
	request := "GET /100 HTTP/1.1\r\nHost: gnetjobs.test\r\n\r\n"
	expect := func(n int) {
		t.Helper()
		for range n {
			resp, err := http.ReadResponse(r, nil)
			if err := wantBody(resp, err, patterns[:100]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := io.WriteString(c, strings.Repeat(request, 50)); err != nil {
		t.Fatal(err)
	}
	expect(50)
	for i := range request {
		if _, err := io.WriteString(c, request[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	expect(1)
	c.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(c, "GET /nothing HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close: %v", err)
	}
}
