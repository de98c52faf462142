package http1

import (
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"
)

// This file writes responses whose body is a stream. fasthttp's own writer sends the
// trailer in answer to HEAD too, chunks to HTTP/1.0, more bytes than the length it has
// announced, and never ends if a stream returns neither bytes nor an error.

// streamBuffers are for the bytes of a stream, up to a record of TLS at a time.
var streamBuffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// maxEmptyReads is how often in a row a stream may return nothing.
const maxEmptyReads = 100

// writeStream writes the response, and closes its stream.
func (x *Exchange) writeStream(sendBody bool) (err error) {
	resp, h := x.Resp, &x.Resp.Header
	stream := resp.BodyStream()
	defer func() {
		if cerr := resp.CloseBodyStream(); err == nil {
			err = cerr
		}
	}()
	length := int64(h.ContentLength())
	if l, ok := stream.(*io.LimitedReader); ok && length < 0 {
		length = l.N // as fasthttp does; less is an error
		h.SetContentLength(int(length))
	}
	chunked := length < 0 && x.head.http11
	if length < 0 && !x.head.http11 { // the end of the connection is the body's
		x.head.last = true
		h.SetContentLength(-2)
		h.Del(fasthttp.HeaderTransferEncoding)
		h.Del(fasthttp.HeaderConnection)
		resp.SetConnectionClose()
	}
	if err := h.Write(x.bw); err != nil {
		return err
	}
	if resp.ImmediateHeaderFlush {
		if err := x.Flush(); err != nil {
			return err
		}
	}
	if !sendBody {
		return nil
	}
	if err := x.copyStream(stream, length, chunked); err != nil {
		return err
	}
	if !chunked {
		return nil
	}
	if _, err := x.bw.WriteString("0\r\n"); err != nil {
		return err
	}
	_, err = x.bw.Write(h.TrailerHeader())
	return err
}

// copyStream sends the stream, as it comes. A negative length means until its end.
func (x *Exchange) copyStream(stream io.Reader, length int64, chunked bool) error {
	buffer := streamBuffers.Get().(*[16 << 10]byte)
	defer streamBuffers.Put(buffer)
	for left, empty := length, 0; left != 0; {
		b := buffer[:]
		if left > 0 {
			b = b[:min(int64(len(b)), left)]
		}
		n, err := stream.Read(b)
		if n > 0 {
			empty, left = 0, left-int64(n)
			if err := x.writePart(b[:n], chunked); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && left <= 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("http1: the body's stream ended after %d of %d bytes", length-left, length)
		case err != nil:
			return fmt.Errorf("http1: the body's stream: %w", err)
		case n == 0:
			if empty++; empty == maxEmptyReads {
				return fmt.Errorf("http1: the body's stream: %w", io.ErrNoProgress)
			}
		}
		if length < 0 {
			left = -1
		}
	}
	return nil
}

// writePart sends a part of a body at once: the next may take a while.
func (x *Exchange) writePart(b []byte, chunked bool) error {
	if chunked {
		x.bw.Write(append(strconv.AppendInt(x.bw.AvailableBuffer(), int64(len(b)), 16), "\r\n"...))
	}
	x.bw.Write(b)
	if chunked {
		x.bw.WriteString("\r\n")
	}
	return x.Flush() // with the errors of the above
}
