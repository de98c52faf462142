package http1

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"

	"github.com/valyala/fasthttp"
)

// body is a request's body that is read as it arrives. It is not fasthttp's own: that one
// goes back to a pool when a response that streams it has been written, while the request
// still has it.
type body struct {
	br   *bufio.Reader
	r    io.Reader         // of br, without the framing
	left *io.LimitedReader // nil: chunked
	err  error             // of the last Read
}

// newBody returns the body of the request, or nil if there is none.
func (x *Exchange) newBody() *body {
	b := &body{br: x.br}
	n := x.Req.Header.ContentLength()
	switch {
	case n > 0:
		b.left = &io.LimitedReader{R: x.br, N: int64(n)}
		b.r = b.left
	case n == -1:
		b.r = httputil.NewChunkedReader(x.br)
	default:
		return nil
	}
	return b
}

// readChunked reads a chunked body into memory.
func (x *Exchange) readChunked(b *body, maxBody int) error {
	buffer := streamBuffers.Get().(*[16 << 10]byte)
	defer streamBuffers.Put(buffer)
	n, err := io.CopyBuffer(x.Req.BodyWriter(), io.LimitReader(b, int64(maxBody)+1), buffer[:])
	switch {
	case err != nil:
		return err
	case n > int64(maxBody):
		return fasthttp.ErrBodyTooLarge
	}
	x.Req.Header.SetContentLength(int(n))
	return nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	switch {
	case b.left == nil && err == io.EOF:
		err = b.trailer()
	case b.left != nil && b.left.N == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

var errTrailer = errors.New("http1: the trailer of a body is too long")

// trailer skips the fields behind the last chunk (RFC 9112, section 7.1.2).
func (b *body) trailer() error {
	for size := 0; size <= b.br.Size(); {
		line, err := b.br.ReadSlice('\n')
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return errLineFeed
		}
		if len(line) == 2 {
			return io.EOF
		}
		size += len(line)
	}
	return errTrailer
}

// maxDrain is how much of a body EndBody skips.
const maxDrain = 256 << 10

// EndBody skips what is left of a body that is streamed, and reports whether the body has
// been read to its end. If that takes more than 256 KB, or fails, the connection cannot be
// used any more. Neither can it if there are two opinions of where the body ends.
func (x *Exchange) EndBody() bool {
	b := x.body
	switch {
	case x.head.length && x.head.chunked:
		return false
	case b == nil:
		return true
	}
	io.CopyN(io.Discard, b, maxDrain)
	return b.err == io.EOF
}
