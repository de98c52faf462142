package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
)

// This file reads answers of HTTP/1.1. It takes what browsers and curl take: lines that
// end with a bare line feed, codings of any kind, bodies that end with the connection. The
// body is read to its end and dropped.

const (
	// maxAnswerHeader is the most bytes of status lines and headers, with those of the
	// interim answers, and of a trailer.
	maxAnswerHeader = 1 << 20
	// maxInterim is the most interim answers (1xx) before the final one.
	maxInterim = 16
)

// errAnswer is an answer that is not HTTP/1.1.
var errAnswer = errors.New("not an HTTP/1.1 answer")

// answerReader reads one answer from a connection.
type answerReader struct {
	conn io.Reader
	left int64 // bytes that may still be read from conn, while it is a header
	err  error // of conn
	buf  *bufio.Reader
	text *textproto.Reader // of buf
}

func newAnswerReader() *answerReader {
	a := new(answerReader)
	a.buf = bufio.NewReaderSize(a, 8<<10)
	a.text = textproto.NewReader(a.buf)
	return a
}

func (a *answerReader) reset(conn io.Reader) {
	a.conn, a.left, a.err = conn, maxAnswerHeader, nil
	a.buf.Reset(a)
}

// Read reads for the buffer.
func (a *answerReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		a.err = fmt.Errorf("%w: its header has more than %d KiB", errAnswer, maxAnswerHeader>>10)
		return 0, a.err
	}
	n, err := a.conn.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	a.err = err
	return n, err
}

// read reads the answer to a GET to its end, and returns its status.
func (a *answerReader) read() (code int, err error) {
	major, minor, h := 0, 0, bounds{}
	for range maxInterim + 1 {
		if major, minor, code, err = a.statusLine(); err != nil {
			return 0, err
		}
		if h, err = a.header(); err != nil {
			return 0, a.failed(err)
		}
		if code >= 200 || code == http.StatusSwitchingProtocols {
			break
		}
	}
	switch {
	case code < 200 && code != http.StatusSwitchingProtocols:
		return 0, fmt.Errorf("%w: more than %d interim answers, the last with status %d", errAnswer, maxInterim, code)
	case code < 200, code == http.StatusNoContent, code == http.StatusNotModified:
		return code, nil
	}
	a.left = math.MaxInt64
	coded := h.codings
	if major == 1 && minor == 0 {
		coded = nil // HTTP/1.0 knows none
	}
	if len(coded) > 0 {
		return code, a.failed(a.readCoded(coded))
	}
	length, err := contentLength(h.lengths)
	switch {
	case err != nil:
		return 0, err
	case length < 0: // it ends with the connection
		_, err = io.Copy(io.Discard, a.buf)
		return code, err
	}
	_, err = io.CopyN(io.Discard, a.buf, length)
	return code, a.failed(err)
}

// statusLine reads a line such as "HTTP/1.1 200 OK".
func (a *answerReader) statusLine() (major, minor, code int, err error) {
	slice, err := a.buf.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, 0, 0, a.failed(err)
	}
	line := strings.TrimRight(string(slice), "\r\n")
	version, rest, _ := strings.Cut(line, " ")
	status, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	major, minor, ok := http.ParseHTTPVersion(version)
	code, no := strconv.Atoi(status)
	if !ok || major != 1 || err != nil || no != nil || len(status) != 3 || code < 100 {
		return 0, 0, 0, fmt.Errorf("%w: it begins with %.60q", errAnswer, line)
	}
	return major, minor, code, nil
}

// readCoded reads a body with transfer codings. If the last one is chunked, that says where
// the body ends; else its end is the connection's.
func (a *answerReader) readCoded(codings []string) error {
	all := strings.Join(codings, ",")
	if last := strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:]); !strings.EqualFold(last, "chunked") {
		_, err := io.Copy(io.Discard, a.buf)
		return err
	}
	if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(a.buf)); err != nil {
		return err
	}
	a.left = maxAnswerHeader
	_, err := a.header() // the trailer, or an empty line
	return err
}

// bounds is what has to be known of a header to find the end of the answer.
type bounds struct{ codings, lengths []string }

// header reads a header or a trailer with the empty line at its end. It keeps no other
// fields: those of thousands of answers, each of up to maxAnswerHeader, might not fit into
// the memory.
func (a *answerReader) header() (h bounds, err error) {
	for {
		line, err := a.text.ReadContinuedLineBytes()
		if err != nil {
			return h, err
		}
		if len(line) == 0 {
			return h, nil
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 {
			return h, fmt.Errorf("malformed line of its header: %.60q", line)
		}
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.codings = append(h.codings, string(value))
		case bytes.EqualFold(name, []byte("Content-Length")):
			h.lengths = append(h.lengths, string(bytes.TrimSpace(value)))
		}
	}
}

// contentLength returns the length that a header gives, or -1 if it gives none.
func contentLength(fields []string) (int64, error) {
	length := int64(-1)
	for _, field := range fields {
		for text := range strings.SplitSeq(field, ",") { // RFC 9110, section 8.6: it may be repeated
			n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 63)
			if err != nil || length >= 0 && int64(n) != length {
				return 0, fmt.Errorf("%w: its Content-Length is %.60q", errAnswer, strings.Join(fields, ", "))
			}
			length = int64(n)
		}
	}
	return length, nil
}

// failed returns the error of reading an answer. If the connection has failed or ended, so
// that the parser saw only a part, it is that of the connection.
func (a *answerReader) failed(err error) error {
	if err != nil && a.err != nil && a.buf.Buffered() == 0 {
		err = a.err
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case kindOf(err) == kindOther:
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	return err
}
