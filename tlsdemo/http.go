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
	maxHeader = 8 << 10 // bytes of a request's line and header
	maxBody   = 1 << 20 // bytes of a request's body

	// lingerTime and lingerSize bound what is read from a peer that was refused
	// while it was sending.
	lingerTime = time.Second
	lingerSize = 4 * maxBody
)

// exchange is what a connection needs while it has a request, and gives back
// before it waits for the next.
type exchange struct {
	conn *tls.Conn
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

// Read reads for br. Before it may have to wait, it sends the responses that
// are gathered: the peer may be waiting for them.
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

// serveHTTP answers requests until there is none, and then returns
// loop.ErrWouldBlock; with any other result the connection is to be closed.
func (s *session) serveHTTP(ctx context.Context, c *loop.Conn) error {
	x := exchanges.Get().(*exchange)
	x.conn = s.conn
	x.bw.Reset(s.conn)
	defer x.release()
	for {
		c.SetReadNonblock(true)
		_, err := x.br.Peek(1)
		c.SetReadNonblock(false)
		if err != nil {
			return goodbye(err)
		}
		if t := s.srv.requestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		if err := x.readRequest(); err != nil {
			return s.refuse(x, c, err)
		}
		last := x.req.Header.ConnectionClose() || s.srv.closing.Load()
		s.answer(ctx, x, c)
		if err := s.respond(x, last); err != nil {
			return err
		}
		if last {
			return x.bw.Flush()
		}
		s.idle(c)
	}
}

// goodbye turns the usual ends of an idle connection into none.
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

// answer makes the response, which is the same for all methods and paths.
func (s *session) answer(ctx context.Context, x *exchange, c *loop.Conn) {
	job, _ := jobs.FromContext(ctx)
	b := append(x.text[:0], x.req.Header.Method()...)
	b = append(append(b, ' '), x.req.RequestURI()...)
	b = append(append(b, "\nbody: "...), strconv.Itoa(len(x.req.Body()))...)
	b = append(append(b, " bytes\nprotocol: "...), tls.VersionName(s.version)...)
	b = append(append(b, "\ncipher suite: "...), s.suite...)
	b = strconv.AppendBool(append(b, "\nsession resumed: "...), s.resumed)
	b = strconv.AppendInt(append(b, "\nloop: "...), int64(s.srv.loops[c.Loop()]), 10)
	b = strconv.AppendUint(append(b, "\njob: "...), job.ID(), 10)
	b = append(b, '\n')
	x.text = b
	x.resp.Reset()
	x.resp.SetBodyRaw(b)
}

// respond writes the response to bw.
func (s *session) respond(x *exchange, last bool) error {
	x.resp.Header.SetContentType("text/plain; charset=utf-8")
	x.resp.SkipBody = x.req.Header.IsHead()
	switch {
	case last:
		x.resp.SetConnectionClose()
	case !x.req.Header.IsHTTP11():
		x.resp.Header.Set("Connection", "keep-alive")
	}
	if s.srv.onResponse != nil {
		s.srv.onResponse(x.resp.StatusCode())
	}
	return x.resp.Write(x.bw)
}

// refuse answers a request that could not be read, if there is still someone to
// answer to. The connection is to be closed.
func (s *session) refuse(x *exchange, c *loop.Conn, err error) error {
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
	if err := s.respond(x, true); err != nil {
		return err
	}
	if err := x.bw.Flush(); err != nil {
		return err
	}
	// The peer may still be sending. If the socket were closed now, with bytes
	// unread, the peer would get a reset in place of the answer.
	if s.conn.CloseWrite() == nil && c.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c, lingerSize)
	}
	return err
}
