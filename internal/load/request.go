package load

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// This file makes the request that follows a handshake. answer.go reads its answer.

// requestText returns the request that follows a handshake. If the connection will
// not be reset, the request asks the server to close it.
func requestText(path, host, port string, reset bool) []byte {
	authority := net.JoinHostPort(host, port)
	if port == "" || port == "443" || port == "https" { // RFC 9110, section 7.2
		authority = strings.TrimSuffix(authority, ":"+port)
	}
	end := "\r\n"
	if !reset {
		end = "Connection: close\r\n\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tlsdemo\r\n%s", path, authority, end)
}

// ask sends the request.
func (c *conn) ask() error {
	if p := c.v.agreed.alpn; p != "" && p != "http/1.1" && p != "http/1.0" {
		return fmt.Errorf("%w: the connection speaks %s", errAnswer, p)
	}
	_, err := c.tls.Write(c.v.target.request)
	return err
}

// answer reads the answer to its end.
func (c *conn) answer() error {
	answer := &firstByte{r: c.tls}
	if err := answer.wait(); err != nil {
		return err
	}
	c.parking = false
	c.v.answered = time.Now()
	a := c.w.reader(answer)
	defer c.w.free(a)
	code, err := a.read()
	if err != nil {
		return err
	}
	if code < 200 || code > 299 {
		return statusError(code)
	}
	return nil
}

// reader returns a reader of an answer.
func (w *worker) reader(answer io.Reader) *answerReader {
	a := (*answerReader)(nil)
	if n := len(w.readers); n > 0 {
		a = w.readers[n-1]
		w.readers = w.readers[:n-1]
	} else {
		a = newAnswerReader()
	}
	a.reset(answer)
	return a
}

// maxReaders is how many buffers are kept for later visits.
const maxReaders = 256

func (w *worker) free(a *answerReader) {
	if len(w.readers) < maxReaders {
		a.reset(nil)
		w.readers = append(w.readers, a)
	}
}
