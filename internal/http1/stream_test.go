package http1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// closing is a stream that knows whether it was closed.
type closing struct {
	io.Reader
	closed *int
}

func (c closing) Close() error { *c.closed++; return nil }

// What is sent for a body that is a stream, by the request and the length that the handler
// has told. A stream is closed once, and a response that is not complete ends with an
// error.
func TestStream(t *testing.T) {
	const (
		get11  = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		get10  = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
		head11 = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
	)
	failed := errors.New("disk on fire")
	for name, test := range map[string]struct {
		request string
		stream  io.Reader
		length  int
		code    int
		want    string // ends with this
		err     error
		last    bool
	}{
		"length":            {get11, strings.NewReader("hello"), 5, 200, "Content-Length: 5\r\n\r\nhello", nil, false},
		"too long":          {get11, strings.NewReader("hello world"), 5, 200, "Content-Length: 5\r\n\r\nhello", nil, false},
		"too short":         {get11, strings.NewReader("hel"), 5, 200, "Content-Length: 5\r\n\r\nhel", errAny, false},
		"empty":             {get11, strings.NewReader(""), 0, 200, "Content-Length: 0\r\n\r\n", nil, false},
		"chunked":           {get11, strings.NewReader("hello"), -1, 200, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", nil, false},
		"chunked, by bytes": {get11, iotest.OneByteReader(strings.NewReader("hi")), -1, 200, "\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", nil, false},
		"chunked, at once":  {get11, iotest.DataErrReader(strings.NewReader("hi")), -1, 200, "\r\n\r\n2\r\nhi\r\n0\r\n\r\n", nil, false},
		"limited":           {get11, io.LimitReader(strings.NewReader("hello"), 3), -1, 200, "Content-Length: 3\r\n\r\nhel", nil, false},
		"fails":             {get11, io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(failed)), -1, 200, "\r\n\r\n3\r\nhel\r\n", failed, false},
		"nothing, for ever": {get11, idleReader{}, -1, 200, "\r\n\r\n", io.ErrNoProgress, false},
		"HTTP/1.0":          {get10, strings.NewReader("hello"), -1, 200, "Connection: close\r\n\r\nhello", nil, true},
		"HTTP/1.0, length":  {get10, strings.NewReader("hello"), 5, 200, "Connection: keep-alive\r\n\r\nhello", nil, false},
		"HEAD":              {head11, strings.NewReader("hello"), 5, 200, "Content-Length: 5\r\n\r\n", nil, false},
		"HEAD, chunked":     {head11, strings.NewReader("hello"), -1, 200, "Transfer-Encoding: chunked\r\n\r\n", nil, false},
		"204":               {get11, strings.NewReader("hello"), -1, 204, "\r\n\r\n", nil, false},
		"304":               {get11, strings.NewReader("hello"), 5, 304, "\r\n\r\n", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			x := NewPool(DefaultHeader).Get(struct {
				io.Reader
				io.Writer
			}{strings.NewReader(test.request), &out})
			if err := x.ReadRequest(0, false); err != nil {
				t.Fatal(err)
			}
			x.Resp.Reset()
			x.Resp.SetStatusCode(test.code)
			closed := 0
			if l, ok := test.stream.(*io.LimitedReader); ok {
				x.Resp.SetBodyStream(l, test.length)
				closed++
			} else {
				x.Resp.SetBodyStream(closing{test.stream, &closed}, test.length)
			}
			err := x.Respond(x.Last())
			x.Flush()
			if test.err == errAny && err == nil || test.err != errAny && !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if got := out.String(); !strings.HasSuffix(got, test.want) || strings.Count(got, "Connection:") > 1 || strings.Contains(got, "identity") {
				t.Errorf("sent %q, want %q at the end", got, test.want)
			}
			if x.Last() != test.last {
				t.Errorf("last: %t, want %t", x.Last(), test.last)
			}
			if closed != 1 {
				t.Errorf("closed %d times", closed)
			}
			x.Release()
		})
	}
}

var errAny = errors.New("any error")

// idleReader returns neither bytes nor an error.
type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

// A trailer follows the last chunk, but not the answer to HEAD.
func TestStreamTrailer(t *testing.T) {
	for method, want := range map[string]string{"GET": "2\r\nhi\r\n0\r\nFoo: bar\r\n\r\n", "HEAD": ""} {
		var out bytes.Buffer
		x := NewPool(DefaultHeader).Get(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(method + " / HTTP/1.1\r\nHost: x\r\n\r\n"), &out})
		if err := x.ReadRequest(0, false); err != nil {
			t.Fatal(err)
		}
		x.Resp.Reset()
		if err := x.Resp.Header.SetTrailer("Foo"); err != nil {
			t.Fatal(err)
		}
		x.Resp.Header.Set("Foo", "bar")
		x.Resp.SetBodyStream(strings.NewReader("hi"), -1)
		if err := x.Respond(true); err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(out.String(), "\r\n\r\n"); got != want {
			t.Errorf("%s: after the header came %q, want %q", method, got, want)
		}
	}
}

// A body that has not been read to its end may still be read by somebody. Its Exchange
// serves nobody else.
func TestBodyKept(t *testing.T) {
	p := NewPool(DefaultHeader)
	for range 100 {
		x := p.Get(struct {
			io.Reader
			io.Writer
		}{strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"), io.Discard})
		if err := x.ReadRequest(0, true); err != nil {
			t.Fatal(err)
		}
		kept := x.Req.BodyStream()
		x.Release()
		y := p.Get(struct {
			io.Reader
			io.Writer
		}{strings.NewReader("secret"), io.Discard})
		if b, err := io.ReadAll(kept); string(b) != "abc" || err != io.ErrUnexpectedEOF {
			t.Fatalf("%q, %v", b, err)
		}
		y.Release()
	}
}
