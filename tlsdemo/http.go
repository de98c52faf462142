package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

const (
	maxHeader = 8 << 10 // bytes of a request line and header
	maxBody   = 1 << 20 // bytes of a request body
)

// exchange has the buffers that a connection needs while it handles requests. On a
// loop, the connection gives it back before it waits for the next request.
type exchange struct {
	conn io.Reader
	br   *bufio.Reader // reads from the exchange
	bw   *bufio.Writer
	req  fasthttp.Request
	resp fasthttp.Response
	text []byte
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.br = bufio.NewReaderSize(x, maxHeader)
	x.bw = bufio.NewWriterSize(nil, 4<<10)
	return x
}}

// Read reads for br. It first sends the buffered responses: it may have to wait,
// and the peer may be waiting for them.
func (x *exchange) Read(p []byte) (int, error) {
	if x.bw.Buffered() > 0 {
		if err := x.bw.Flush(); err != nil {
			return 0, err
		}
	}
	return x.conn.Read(p)
}

func (x *exchange) release() {
	x.conn = nil
	x.br.Reset(x)
	x.bw.Reset(nil)
	x.req.Reset()
	x.resp.Reset()
	exchanges.Put(x)
}

// responder answers requests. It is the part of a server that does not depend on
// what the server runs on: event loops or goroutines.
type responder struct {
	closing atomic.Bool // each connection gets at most one more answer

	requestTimeout time.Duration // from the first byte of a request to its last
	idleTimeout    time.Duration // from one request to the next

	onResponse func(code int) // may be nil
}

// place is where a request is answered. On a goroutine it is the zero value.
type place struct {
	loop int
	job  uint64
}

// serveHTTP answers requests until there are none left, and then parks the
// connection.
func (srv *server) serveHTTP(ctx context.Context, c *loop.TLSConn, s *session) error {
	if !c.Readable() {
		return c.Park(nil)
	}
	x := exchanges.Get().(*exchange)
	x.conn = c
	x.bw.Reset(c)
	defer x.release()
	job, _ := jobs.FromContext(ctx)
	at := place{srv.loops[c.Loop()], job.ID()}
	for {
		if _, err := x.br.Peek(1); err != nil {
			return goodbye(err)
		}
		if t := srv.requestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		if last, err := srv.handle(x, s, at); last || err != nil {
			return err
		}
		srv.idle(c)
		if x.br.Buffered() > 0 || c.Readable() {
			continue
		}
		if err := x.bw.Flush(); err != nil {
			return err
		}
		return c.Park(nil)
	}
}

// handle reads a request and answers it. last says that the connection is to be
// closed; all answers have then been sent.
func (r *responder) handle(x *exchange, s *session, at place) (last bool, err error) {
	if err := x.readRequest(); err != nil {
		return true, r.refuse(x, err)
	}
	last = x.req.Header.ConnectionClose() || r.closing.Load()
	r.answer(x, s, at)
	if err := r.respond(x, last); err != nil {
		return true, err
	}
	if last {
		return true, x.bw.Flush()
	}
	return false, nil
}

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, loop.ErrShutdown) {
		return nil
	}
	return err
}

// readRequest reads a whole request into memory.
func (x *exchange) readRequest() error {
	x.req.Reset()
	if err := x.req.Header.Read(x.br); err != nil {
		return err
	}
	if x.req.MayContinue() { // "Expect: 100-continue"
		if x.req.Header.ContentLength() > maxBody {
			return fasthttp.ErrBodyTooLarge
		}
		if _, err := x.bw.WriteString("HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	return x.req.ContinueReadBody(x.br, maxBody, false)
}

// answer makes the response. It has the same form for all methods and paths.
func (r *responder) answer(x *exchange, s *session, at place) {
	b := append(x.text[:0], x.req.Header.Method()...)
	b = append(append(b, ' '), x.req.RequestURI()...)
	b = append(append(b, "\nbody: "...), strconv.Itoa(len(x.req.Body()))...)
	b = append(append(b, " bytes\nprotocol: "...), tls.VersionName(s.version)...)
	b = append(append(b, "\ncipher suite: "...), s.suite...)
	b = strconv.AppendBool(append(b, "\nsession resumed: "...), s.resumed)
	b = strconv.AppendInt(append(b, "\nloop: "...), int64(at.loop), 10)
	b = strconv.AppendUint(append(b, "\njob: "...), at.job, 10)
	b = append(b, '\n')
	x.text = b
	x.resp.Reset()
	x.resp.SetBodyRaw(b)
}

// respond writes the response to bw.
func (r *responder) respond(x *exchange, last bool) error {
	x.resp.Header.SetContentType("text/plain; charset=utf-8")
	x.resp.SkipBody = x.req.Header.IsHead()
	switch {
	case last:
		x.resp.SetConnectionClose()
	case !x.req.Header.IsHTTP11():
		x.resp.Header.Set("Connection", "keep-alive")
	}
	if r.onResponse != nil {
		r.onResponse(x.resp.StatusCode())
	}
	return x.resp.Write(x.bw)
}

// refuse answers a request that could not be read, if the connection still works.
// The caller closes the connection.
func (r *responder) refuse(x *exchange, err error) error {
	var network net.Error
	var small *fasthttp.ErrSmallBuffer
	code := fasthttp.StatusBadRequest
	switch {
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return goodbye(err)
	case errors.As(err, &small):
		code = fasthttp.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		code = fasthttp.StatusRequestEntityTooLarge
	}
	x.resp.Reset()
	x.resp.SetStatusCode(code)
	x.resp.SetBodyString(fasthttp.StatusMessage(code) + "\n")
	if err := r.respond(x, true); err != nil {
		return err
	}
	return x.bw.Flush()
}
