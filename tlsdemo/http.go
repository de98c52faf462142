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
	"time"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

const (
	maxHeader = 8 << 10 // bytes of a request line and header
	maxBody   = 1 << 20 // bytes of a request body
)

// exchange has the buffers that a connection needs while it handles requests. The
// connection gives it back before it waits for the next request.
type exchange struct {
	conn *loop.TLSConn
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
	for {
		if _, err := x.br.Peek(1); err != nil {
			return goodbye(err)
		}
		if t := srv.requestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		if err := x.readRequest(); err != nil {
			return srv.refuse(x, err)
		}
		last := x.req.Header.ConnectionClose() || srv.closing.Load()
		srv.answer(ctx, x, s)
		if err := srv.respond(x, last); err != nil {
			return err
		}
		if last {
			return x.bw.Flush()
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
func (srv *server) answer(ctx context.Context, x *exchange, s *session) {
	job, _ := jobs.FromContext(ctx)
	b := append(x.text[:0], x.req.Header.Method()...)
	b = append(append(b, ' '), x.req.RequestURI()...)
	b = append(append(b, "\nbody: "...), strconv.Itoa(len(x.req.Body()))...)
	b = append(append(b, " bytes\nprotocol: "...), tls.VersionName(s.version)...)
	b = append(append(b, "\ncipher suite: "...), s.suite...)
	b = strconv.AppendBool(append(b, "\nsession resumed: "...), s.resumed)
	b = strconv.AppendInt(append(b, "\nloop: "...), int64(srv.loops[x.conn.Loop()]), 10)
	b = strconv.AppendUint(append(b, "\njob: "...), job.ID(), 10)
	b = append(b, '\n')
	x.text = b
	x.resp.Reset()
	x.resp.SetBodyRaw(b)
}

// respond writes the response to bw.
func (srv *server) respond(x *exchange, last bool) error {
	x.resp.Header.SetContentType("text/plain; charset=utf-8")
	x.resp.SkipBody = x.req.Header.IsHead()
	switch {
	case last:
		x.resp.SetConnectionClose()
	case !x.req.Header.IsHTTP11():
		x.resp.Header.Set("Connection", "keep-alive")
	}
	if srv.onResponse != nil {
		srv.onResponse(x.resp.StatusCode())
	}
	return x.resp.Write(x.bw)
}

// refuse answers a request that could not be read, if the connection still works.
// The caller closes the connection.
func (srv *server) refuse(x *exchange, err error) error {
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
	if err := srv.respond(x, true); err != nil {
		return err
	}
	return x.bw.Flush()
}
