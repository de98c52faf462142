package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jobloop/jobloop/internal/http1"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// maxBody is the most bytes of a request's body.
const maxBody = 1 << 20

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
	x := http1.NewExchange(c)
	defer x.Release()
	job, _ := jobs.FromContext(ctx)
	at := place{srv.loops[c.Loop()], job.ID()}
	for {
		if err := x.Wait(); err != nil {
			return goodbye(err)
		}
		if t := srv.requestTimeout; t > 0 {
			c.SetReadDeadline(time.Now().Add(t))
		}
		if last, err := srv.handle(x, s, at); last || err != nil {
			return err
		}
		srv.idle(c)
		if x.Buffered() || c.Readable() {
			continue
		}
		if err := x.Flush(); err != nil {
			return err
		}
		return c.Park(nil)
	}
}

// handle reads a request and answers it. last says that the connection is to be
// closed; all answers have then been sent.
func (r *responder) handle(x *http1.Exchange, s *session, at place) (last bool, err error) {
	if err := x.ReadRequest(maxBody, false); err != nil {
		if !x.Refuse(err) {
			return true, goodbye(err)
		}
		return true, r.respond(x, true)
	}
	last = x.Last() || r.closing.Load()
	x.Resp.Reset()
	x.Resp.Header.SetContentType("text/plain; charset=utf-8")
	x.Scratch = r.answer(x.Scratch[:0], x, s, at)
	x.Resp.SetBodyRaw(x.Scratch)
	return last, r.respond(x, last)
}

// goodbye returns nil for the errors with which an idle connection usually ends.
func goodbye(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, loop.ErrShutdown) {
		return nil
	}
	return err
}

// answer appends the response's body. It has the same form for all methods and paths.
func (r *responder) answer(b []byte, x *http1.Exchange, s *session, at place) []byte {
	b = append(b, x.Req.Header.Method()...)
	b = append(append(b, ' '), x.Req.RequestURI()...)
	b = append(append(b, "\nbody: "...), strconv.Itoa(len(x.Req.Body()))...)
	b = append(append(b, " bytes\nprotocol: "...), tls.VersionName(s.version)...)
	b = append(append(b, "\ncipher suite: "...), s.suite...)
	b = strconv.AppendBool(append(b, "\nsession resumed: "...), s.resumed)
	b = strconv.AppendInt(append(b, "\nloop: "...), int64(at.loop), 10)
	b = strconv.AppendUint(append(b, "\njob: "...), at.job, 10)
	return append(b, '\n')
}

// respond writes the response, and counts it.
func (r *responder) respond(x *http1.Exchange, last bool) error {
	if r.onResponse != nil {
		r.onResponse(x.Resp.StatusCode())
	}
	return x.Respond(last)
}
