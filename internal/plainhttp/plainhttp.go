// Package plainhttp tells clients that speak HTTP to a TLS server what is wrong.
package plainhttp

import (
	"crypto/tls"
	"errors"
	"io"
)

const answer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 42\r\n\r\n" +
	"This server speaks HTTPS. Use https://...\n"

// Answer sends a response of HTTP if err is the error of a handshake that failed because
// the client has sent a request of HTTP without TLS. The caller closes the connection.
func Answer(err error) {
	var first tls.RecordHeaderError
	if errors.As(err, &first) && first.Conn != nil && isRequest(first.RecordHeader) {
		io.WriteString(first.Conn, answer)
	}
}

// isRequest reports whether a request may begin with these bytes: with a method and a
// space, or part of a longer method.
func isRequest(b [5]byte) bool {
	for i, c := range b {
		if c == ' ' {
			return i >= 3
		}
		if c < 'A' || 'Z' < c {
			return false
		}
	}
	return true
}
