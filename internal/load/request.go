package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// This file makes the request that follows a handshake, and reads its answer.

// requestText returns the request that follows a handshake. If the connection will
// not be reset, the request asks the server to close it.
func requestText(path, host, port string, reset bool) []byte {
	authority := net.JoinHostPort(host, port)
	if port == "443" || port == "https" { // RFC 9110, section 7.2
		authority = strings.TrimSuffix(authority, ":"+port)
	}
	end := "\r\n"
	if !reset {
		end = "Connection: close\r\n\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tlsdemo\r\n%s", path, authority, end)
}

// request requests a path and reads the answer to its end.
func (w *worker) request(t *tls.Conn, v *visit, path string) error {
	if p := v.agreed.alpn; p != "" && p != "http/1.1" && p != "http/1.0" {
		return fmt.Errorf("%w: the connection speaks %s", errAnswer, p)
	}
	if _, err := t.Write(v.target.request); err != nil {
		return err
	}
	r := w.reader(t)
	defer w.free(r)
	if _, err := r.Peek(1); err != nil {
		return err
	}
	v.answered = time.Now()
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	resp.StreamBody = true // do not keep the body in memory
	if err := resp.Read(r); err != nil {
		return answerError(err)
	}
	if body := resp.BodyStream(); body != nil {
		_, err := io.Copy(io.Discard, body)
		resp.CloseBodyStream()
		if err != nil {
			return answerError(err)
		}
	}
	if code := resp.StatusCode(); code < 200 || code > 299 {
		return statusError(code)
	}
	return nil
}

// answerError marks an error as one of the answer, if it is not one of the
// connection.
func answerError(err error) error {
	if kindOf(err) != kindOther {
		return err
	}
	return fmt.Errorf("%w: %w", errAnswer, err)
}

// reader returns a buffered reader of t.
func (w *worker) reader(t *tls.Conn) *bufio.Reader {
	n := len(w.readers)
	if n == 0 {
		return bufio.NewReaderSize(t, 8<<10) // enough for the headers that servers send
	}
	r := w.readers[n-1]
	w.readers = w.readers[:n-1]
	r.Reset(t)
	return r
}

// maxReaders is how many buffers are kept for later visits.
const maxReaders = 256

func (w *worker) free(r *bufio.Reader) {
	if len(w.readers) < maxReaders {
		r.Reset(nil)
		w.readers = append(w.readers, r)
	}
}
