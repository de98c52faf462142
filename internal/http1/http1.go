// Package http1 reads the requests of HTTP/1.1 and writes the responses, in fasthttp's
// types, on any connection. Servers on loops and on goroutines share it.
//
// It is stricter than fasthttp about what RFC 9112 leaves to the server where that can
// be misused: a request that two servers in a row could understand differently is
// refused, or is the connection's last. What it refuses gets an answer at once.
package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// DefaultHeader is a usual limit for the bytes of a request line and header.
const DefaultHeader = 8 << 10

// Exchange has the buffers that a connection needs while it handles requests. A
// connection that waits for the next request can do without.
type Exchange struct {
	Ctx  fasthttp.RequestCtx
	Req  *fasthttp.Request  // of Ctx
	Resp *fasthttp.Response // of Ctx

	pool *Pool
	conn io.ReadWriter
	br   *bufio.Reader // reads from the Exchange
	bw   *bufio.Writer
	head head
	body *body // that is streamed; not the Request's, which its user may replace
}

// Pool keeps the Exchanges that are not in use. Any goroutine may use it.
type Pool struct{ unused sync.Pool }

// NewPool returns a Pool of Exchanges that take request lines and headers of up to
// maxHeader bytes, together.
func NewPool(maxHeader int) *Pool {
	p := new(Pool)
	p.unused.New = func() any {
		x := &Exchange{pool: p, bw: bufio.NewWriterSize(nil, 4<<10)}
		x.Req, x.Resp = &x.Ctx.Request, &x.Ctx.Response
		x.br = bufio.NewReaderSize(x, maxHeader)
		return x
	}
	return p
}

// Get returns an Exchange for a connection. Release it.
func (p *Pool) Get(conn io.ReadWriter) *Exchange {
	x := p.unused.Get().(*Exchange)
	x.conn = conn
	x.bw.Reset(conn)
	return x
}

// Release gives the buffers to others. There must be nothing in them, and nobody must use
// them any more. If a body that is streamed has not been read to its end, somebody may:
// then they are left to the garbage collector.
func (x *Exchange) Release() {
	if x.body != nil && x.body.err == nil {
		return
	}
	x.conn, x.body = nil, nil
	x.Ctx.Init2(nil, nil, true)
	x.br.Reset(x)
	x.bw.Reset(nil)
	x.Req.Reset()
	x.Resp.Reset()
	x.pool.unused.Put(x)
}

// Abandon is Release after a panic.
func (x *Exchange) Abandon() {
	x.Resp.CloseBodyStream()
	x.Req.RemoveMultipartFormFiles()
}

// Read reads for the Exchange's own buffer. It first sends the buffered responses: it
// may have to wait, and the peer may be waiting for them.
func (x *Exchange) Read(p []byte) (int, error) {
	if err := x.Flush(); err != nil {
		return 0, err
	}
	return x.conn.Read(p)
}

// Flush sends the buffered responses.
func (x *Exchange) Flush() error { return x.bw.Flush() }

// Wait waits for the first byte of the next request. When it returns an error, the
// responses have been sent.
func (x *Exchange) Wait() error {
	_, err := x.br.Peek(1)
	if err != nil {
		x.Flush() // the end may have come together with the last request
	}
	return err
}

// Buffered reports whether bytes of the next request have been read.
func (x *Exchange) Buffered() bool { return x.br.Buffered() > 0 }

// ReadRequest reads a request, with a body of up to maxBody bytes, into memory. With
// stream it leaves the body to whoever reads Req.BodyStream; see EndBody. After an error,
// which Refuse can answer, the connection is of no further use.
func (x *Exchange) ReadRequest(maxBody int, stream bool) error {
	x.Req.Reset()
	x.body = nil
	if err := x.readHead(); err != nil {
		return err
	}
	if err := x.Req.Header.Read(x.br); err != nil {
		return err
	}
	if err := x.head.check(x.Req); err != nil {
		return err
	}
	if x.head.expects {
		if !stream && x.Req.Header.ContentLength() > maxBody {
			return fasthttp.ErrBodyTooLarge
		}
		if _, err := x.bw.WriteString("HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	b := x.newBody()
	switch {
	case b == nil:
		return nil
	case stream:
		x.body = b
		x.Req.SetBodyStream(b, x.Req.Header.ContentLength())
		return nil
	case b.left == nil:
		return x.readChunked(b, maxBody)
	}
	return x.Req.ContinueReadBody(x.br, maxBody, false)
}

// Last reports whether the connection has to be closed after the response to the
// request: because the client wants that, or because its next request might not begin
// where it seems to.
func (x *Exchange) Last() bool { return x.head.last }

// Respond writes the response. With last it says that the connection is closed
// afterwards, and is sent at once.
//
// If the body is a stream whose length is not known, and the client speaks HTTP/1.0, the
// response is the last too: then Last returns true.
func (x *Exchange) Respond(last bool) error {
	switch {
	case last:
		x.Resp.SetConnectionClose()
	case !x.head.http11:
		x.Resp.Header.Set("Connection", "keep-alive")
	}
	err := x.write()
	if last || err != nil {
		if ferr := x.Flush(); err == nil { // what there is of a response that has failed, too
			err = ferr
		}
	}
	return err
}

// write writes the response into the buffer, or sends it if it is a stream.
func (x *Exchange) write() error {
	skip := x.Resp.SkipBody || x.head.head
	code := x.Resp.StatusCode()
	x.Resp.SkipBody = skip || code == fasthttp.StatusSwitchingProtocols
	if x.Resp.IsBodyStream() {
		bodiless := code < fasthttp.StatusOK || code == fasthttp.StatusNoContent || code == fasthttp.StatusNotModified
		return x.writeStream(!x.Resp.SkipBody && !bodiless)
	}
	return x.Resp.Write(x.bw)
}

// RespondRaw sends the response as it is. The connection then speaks another protocol.
func (x *Exchange) RespondRaw() error {
	if err := x.write(); err != nil {
		return err
	}
	return x.Flush()
}

// Ahead returns a copy of what has been read behind the last request.
func (x *Exchange) Ahead() []byte {
	b, _ := x.br.Peek(x.br.Buffered())
	return bytes.Clone(b)
}

// Refuse prepares the response to a request that could not be read. The caller calls
// Respond and closes the connection. ok is false if the connection itself has ended or
// failed, so that there is nothing to answer. Earlier responses have then been sent.
func (x *Exchange) Refuse(err error) (ok bool) {
	var network net.Error
	var small *fasthttp.ErrSmallBuffer
	r := refusal{code: fasthttp.StatusBadRequest}
	switch {
	case errors.As(err, &r):
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		x.Flush()
		return false
	case errors.As(err, &small):
		r.code = fasthttp.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r.code = fasthttp.StatusRequestEntityTooLarge
	}
	text := fasthttp.StatusMessage(r.code)
	if r.reason != "" {
		text += ": " + r.reason
	}
	x.Resp.Reset()
	x.Resp.SetStatusCode(r.code)
	x.Resp.SetBodyString(text + "\n")
	x.Resp.Header.SetContentType("text/plain; charset=utf-8")
	return true
}

// refusal is the error of a request that is refused.
type refusal struct {
	code   int
	reason string
}

func (r refusal) Error() string { return "http1: request refused: " + r.reason }
