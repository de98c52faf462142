package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/http1"
)

// ask writes raw requests and reads a response for each method.
func ask(t *testing.T, s *served, raw string, methods ...string) (responses []*http.Response, bodies []string, rest *bufio.Reader) {
	t.Helper()
	c := s.dial()
	go io.WriteString(c, raw) // the answer may come before all is sent
	br := bufio.NewReader(c)
	for _, method := range methods {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("no response to %s in %.60q: %v", method, raw, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		responses, bodies = append(responses, resp), append(bodies, string(body))
	}
	return responses, bodies, br
}

// wantEOF checks that the server has closed the connection properly.
func wantEOF(t *testing.T, what string, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("%s: after the response came %q, %v; want the end", what, b, err)
	}
}

func TestKeepAlive(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	fresh := 0
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			fresh++
		}
	}}
	for i := range 200 {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET",
			fmt.Sprintf("https://%s/%d?q=1", s.addr, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := fmt.Sprintf("GET /%d?q=1\nbody: 0 bytes\nprotocol: TLS 1.3\ncipher suite: %s\nsession resumed: false\nloop: 0\njob: ",
			i, tls.CipherSuiteName(resp.TLS.CipherSuite))
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(body), want) {
			t.Fatalf("%s %q %v, want %q", resp.Status, body, err, want)
		}
	}
	if fresh != 1 {
		t.Errorf("200 requests took %d connections", fresh)
	}
	client.CloseIdleConnections()
	s.stop()
}

func TestRequests(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	const get = "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
	const bye = "GET /bye HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

	t.Run("pipelined", func(t *testing.T) {
		raw := fmt.Sprintf(get+get, "1", "2") + "POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + bye
		_, bodies, rest := ask(t, s, raw, "GET", "GET", "POST", "GET")
		for i, want := range []string{"GET /1\n", "GET /2\n", "POST /3\nbody: 3 bytes\n", "GET /bye\n"} {
			if !strings.HasPrefix(bodies[i], want) {
				t.Errorf("response %d: %q, want %q", i, bodies[i], want)
			}
		}
		wantEOF(t, "pipelined", rest)
	})
	t.Run("answered before the next is complete", func(t *testing.T) {
		c := s.dial()
		br := bufio.NewReader(c)
		io.WriteString(c, fmt.Sprintf(get, "1")+"GET /2 HTT")
		for range 2 {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			io.WriteString(c, "P/1.1\r\nHost: x\r\n\r\n")
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		responses, bodies, rest := ask(t, s, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"+bye, "HEAD", "GET")
		if bodies[0] != "" || responses[0].ContentLength <= 0 || !strings.HasPrefix(bodies[1], "GET /bye\n") {
			t.Errorf("length %d, bodies %q", responses[0].ContentLength, bodies)
		}
		wantEOF(t, "HEAD", rest)
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		raw := "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n"
		responses, bodies, rest := ask(t, s, raw, "GET", "GET")
		if got := responses[0].Header.Get("Connection"); got != "keep-alive" || !strings.HasPrefix(bodies[1], "GET /2\n") {
			t.Errorf("Connection: %q, bodies %q", got, bodies)
		}
		wantEOF(t, "HTTP/1.0", rest)
	})
	t.Run("chunked", func(t *testing.T) {
		raw := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + bye
		_, bodies, rest := ask(t, s, raw, "POST", "GET")
		if !strings.HasPrefix(bodies[0], "POST /\nbody: 11 bytes\n") {
			t.Errorf("%q", bodies)
		}
		wantEOF(t, "chunked", rest)
	})
	t.Run("multipart is a body like others", func(t *testing.T) {
		raw := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 3\r\n\r\nabc" + bye
		_, bodies, _ := ask(t, s, raw, "POST", "GET")
		if !strings.HasPrefix(bodies[0], "POST /\nbody: 3 bytes\n") {
			t.Errorf("%q", bodies)
		}
	})
	t.Run("100-continue", func(t *testing.T) {
		c := s.dial()
		br := bufio.NewReader(c)
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
		if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q", line)
		}
		br.ReadString('\n')
		io.WriteString(c, "abc")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), "body: 3 bytes") {
			t.Errorf("%q", body)
		}
	})
	big := strings.Repeat("x", maxBody+1)
	for _, test := range []struct {
		name, raw string
		status    int
	}{
		{"no request at all", "nonsense\r\n\r\n", 400},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"bad length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"big header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", http1.DefaultHeader) + "\r\n\r\n", 431},
		{"big body", fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(big), big), 413},
		{"big chunked body", fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big), 413},
		{"big expected body", fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(big)), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			responses, _, rest := ask(t, s, test.raw, "GET")
			if got := responses[0]; got.StatusCode != test.status || !got.Close {
				t.Errorf("status %d, close %v, want %d and close", got.StatusCode, got.Close, test.status)
			}
			wantEOF(t, test.name, rest)
		})
	}
	s.stop()
}

// A client that speaks HTTP without TLS is told so.
func TestPlainHTTP(t *testing.T) {
	for _, flags := range [][]string{nil, {"--goroutines"}} {
		s := serve(t, append([]string{"--key", "ecdsa-p256"}, flags...)...)
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || err != nil || !strings.Contains(string(b), "HTTPS") {
			t.Errorf("%s, %q, %v", resp.Status, b, err)
		}
		wantEOF(t, "plain HTTP", br)
		s.stop()
	}
}

func TestTimeouts(t *testing.T) {
	t.Run("request", func(t *testing.T) {
		s := serve(t, "--key", "ecdsa-p256", "--request-timeout", "100ms")
		c := s.dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		wantEOF(t, "half a request", c)
	})
	t.Run("idle", func(t *testing.T) {
		s := serve(t, "--key", "ecdsa-p256", "--idle-timeout", "100ms")
		_, _, rest := ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
		wantEOF(t, "idle", rest)
		wantEOF(t, "idle before the first request", s.dial())
	})
}

// A body may come in parts, in records of any size.
func TestBodyInParts(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	c := s.dial()
	br := bufio.NewReader(c)
	body := bytes.Repeat([]byte("0123456789"), 2000)
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	for n := 1; len(body) > 0; n *= 3 {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(resp.Body); !strings.Contains(string(got), "body: 20000 bytes") {
		t.Errorf("%q", got)
	}
}
