package http1

import (
	"bytes"
	"io"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"
)

// This file looks at the bytes of a request's head before fasthttp parses it.

// head is what matters about a request's line and header for the connection.
type head struct {
	http11  bool // version 1.1 or a later 1.x
	last    bool // no request can follow
	closes  bool // the client has said so
	expects bool // 100 Continue
	head    bool // the method: a response has no body

	length, chunked bool // Content-Length, Transfer-Encoding: chunked
}

var (
	errLineFeed  = refusal{fasthttp.StatusBadRequest, "a line does not end with CR LF"}   // RFC 9112, section 2.2
	errFold      = refusal{fasthttp.StatusBadRequest, "a header field in several lines"}  // section 5.2
	errName      = refusal{fasthttp.StatusBadRequest, "a space in a header field's name"} // section 5.1
	errLine      = refusal{fasthttp.StatusBadRequest, "no request line of HTTP/1.1"}
	errTLS       = refusal{fasthttp.StatusBadRequest, "TLS where HTTP is spoken"}
	errHost      = refusal{fasthttp.StatusBadRequest, "invalid Host"}
	errTarget    = refusal{fasthttp.StatusBadRequest, "invalid request target"}
	errVersion   = refusal{fasthttp.StatusHTTPVersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here"}
	errCoding    = refusal{fasthttp.StatusNotImplemented, "no transfer coding but chunked is known here"} // section 6.1
	errConnect   = refusal{fasthttp.StatusNotImplemented, "this is no proxy"}
	errExpect    = refusal{fasthttp.StatusExpectationFailed, "only 100-continue can be expected"} // RFC 9110, section 10.1.1
	errHeadLarge = refusal{fasthttp.StatusRequestHeaderFieldsTooLarge, ""}
)

// readHead waits until the whole head is in the buffer. A head that is refused for a
// line is refused as soon as that line is there.
func (x *Exchange) readHead() error {
	h := &x.head
	*h = head{}
	begin, seen := 0, 0 // of the line; bytes looked at
	requestLine := false
	for {
		b, _ := x.br.Peek(x.br.Buffered())
		if begin == 0 && len(b) > 0 && b[0] < ' ' && b[0] != '\r' && b[0] != '\n' {
			if b[0] == 0x16 { // a handshake record
				return errTLS
			}
			return errLine
		}
		for i := bytes.IndexByte(b[seen:], '\n'); i >= 0; i = bytes.IndexByte(b[seen:], '\n') {
			end := seen + i
			seen = end + 1
			if end == begin || b[end-1] != '\r' {
				return errLineFeed
			}
			line := b[begin : end-1]
			begin = seen
			switch {
			case !requestLine && len(line) == 0: // empty lines before it are skipped (RFC 9112, section 2.2)
			case !requestLine:
				requestLine = true
				if err := h.requestLine(line); err != nil {
					return err
				}
			case len(line) == 0:
				return nil
			default:
				if err := h.field(line); err != nil {
					return err
				}
			}
		}
		seen = len(b)
		if len(b) == x.br.Size() {
			return errHeadLarge
		}
		if _, err := x.br.Peek(len(b) + 1); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// requestLine looks at the version.
func (h *head) requestLine(line []byte) error {
	at := bytes.LastIndexByte(line, ' ')
	v := line[at+1:] // "HTTP/1.1"
	if at < 0 || len(v) != 8 || string(v[:5]) != "HTTP/" || v[6] != '.' || !digit(v[5]) || !digit(v[7]) {
		return errLine
	}
	if v[5] != '1' {
		return errVersion
	}
	h.http11 = v[7] != '0'
	h.last = !h.http11 // unless it asks for keep-alive
	if bytes.HasPrefix(line, []byte("CONNECT ")) {
		return errConnect
	}
	h.head = bytes.HasPrefix(line, []byte("HEAD "))
	return nil
}

func digit(b byte) bool { return '0' <= b && b <= '9' }

// field looks at the fields that matter. What is not well formed is left to fasthttp.
func (h *head) field(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	if bytes.IndexByte(name, ' ') >= 0 { // fasthttp lets it pass
		return errName
	}
	value = bytes.Trim(value, " \t")
	switch len(name) {
	case len("expect"):
		if is(name, "expect") {
			if !is(value, "100-continue") {
				return errExpect
			}
			h.expects = h.http11 // RFC 9110, section 10.1.1
		}
	case len("connection"):
		if is(name, "connection") {
			h.connection(value)
		}
	case len("content-length"):
		h.length = h.length || is(name, "content-length")
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			if h.chunked = is(value, "chunked"); !h.chunked {
				return errCoding
			}
		}
	}
	return nil
}

// connection looks at a list of connection options (RFC 9110, section 7.6.1).
func (h *head) connection(list []byte) {
	for option := range bytes.SplitSeq(list, []byte(",")) {
		switch option = bytes.Trim(option, " \t"); {
		case is(option, "close"):
			h.last, h.closes = true, true
		case is(option, "keep-alive"):
			h.last = h.closes
		}
	}
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// check is called when fasthttp has parsed the head.
func (h *head) check(r *fasthttp.Request) error {
	if !validHost(r.Header.Host()) {
		return errHost
	}
	if target := r.Header.RequestURI(); len(target) == 0 || target[0] != '/' && string(target) != "*" {
		// It names the host itself (RFC 9112, section 3.2.2).
		u, err := url.Parse(string(target))
		if err != nil || u.Host == "" || !validHost([]byte(u.Host)) || !strings.EqualFold(u.Host, string(r.URI().Host())) {
			return errTarget
		}
	}
	// A server before this one may have gone by the other of the two (RFC 9112,
	// section 6.1).
	h.last = h.last || h.length && h.chunked
	return nil
}

func validHost(host []byte) bool {
	for _, c := range host {
		if !hostByte(c) {
			return false
		}
	}
	return true
}

// hostByte reports whether c may be in a Host field (RFC 3986, section 3.2.2, and the
// port).
func hostByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || digit(c) || bytes.IndexByte([]byte("-._~!$&'()*+,;=:[]%"), c) >= 0
}
