package load

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/jobloop/jobloop/jobs"
)

// Kinds of errors, the keys of Result.ErrorsByKind. An alert from the server is
// "alert: " and its name. An answer with a status other than 2xx is "status " and the
// number.
const (
	kindRefused     = "refused"
	kindReset       = "reset"
	kindTimeout     = "timeout"
	kindGaveUp      = "gave up" // the client's patience ran out
	kindCertificate = "certificate"
	kindClosed      = "closed" // by the server, too early
	kindUnreachable = "unreachable"
	kindPorts       = "ports"       // this machine has no free local ports
	kindDescriptors = "descriptors" // this process has no free file descriptors
	kindNotTLS      = "not TLS"
	kindNotBegun    = "not begun" // due, but all connections were in use, until the end or for longer than the patience
	kindProtocol    = "protocol"  // the server broke TLS's or HTTP's rules
	kindOther       = "other"

	kindAlert  = "alert: "
	kindStatus = "status "
)

// kindOf returns the kind of an error.
func kindOf(err error) string {
	if errors.Is(err, errGaveUp) {
		return kindGaveUp
	}
	for _, k := range errnoKinds {
		if errors.Is(err, k.errno) {
			return k.kind
		}
	}
	var (
		verify *tls.CertificateVerificationError
		header tls.RecordHeaderError
		op     *net.OpError
		status statusError
	)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kindTimeout
	case errors.As(err, &verify):
		return kindCertificate
	case errors.As(err, &header):
		return kindNotTLS
	case errors.As(err, &status):
		return fmt.Sprintf(kindStatus+"%d", int(status))
	case errors.Is(err, errAnswer):
		return kindProtocol
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return kindClosed
	case errors.As(err, &op) && op.Op == "remote error": // how crypto/tls reports an alert
		return kindAlert + strings.TrimPrefix(op.Err.Error(), "tls: ")
	case strings.Contains(err.Error(), "tls: "):
		return kindProtocol
	}
	return kindOther
}

var errnoKinds = []struct {
	errno syscall.Errno
	kind  string
}{
	{syscall.ECONNREFUSED, kindRefused},
	{syscall.ENOENT, kindRefused}, // a Unix socket that has gone
	{syscall.ECONNRESET, kindReset},
	{syscall.ECONNABORTED, kindReset},
	{syscall.EPIPE, kindReset},
	{syscall.ENOTCONN, kindReset}, // a dial: it has been reset already
	{syscall.ETIMEDOUT, kindTimeout},
	{syscall.EHOSTUNREACH, kindUnreachable},
	{syscall.ENETUNREACH, kindUnreachable},
	{syscall.EAGAIN, kindRefused}, // the backlog of a Unix socket is full
	{syscall.EADDRNOTAVAIL, kindPorts},
	{syscall.EADDRINUSE, kindPorts},
	{syscall.EMFILE, kindDescriptors},
	{syscall.ENFILE, kindDescriptors},
}

// canceled reports whether a connection failed because the run was ended.
func canceled(err error) bool {
	return errors.Is(err, jobs.ErrCanceled) || errors.Is(err, net.ErrClosed)
}

// statusError is an answer with a status other than 2xx.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP status %d", int(s)) }

// SortedKinds returns the kinds of errors, the most frequent first.
func SortedKinds(kinds map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	})
}

// The parts of a visit, in the messages of errors.
const (
	partConnect   = "connect"
	partHandshake = "handshake"
	partRequest   = "request"
)

// explained puts what an error means for the client in place of what the system or a
// library calls it.
func (v *visit) explained(part string, err error) error {
	unanswered := part == partHandshake && v.read == 0 || part == partRequest && v.answered.IsZero()
	switch kind := kindOf(err); {
	case kind == kindTimeout && errors.Is(err, os.ErrDeadlineExceeded): // the kernel's own timeouts say so
		what := "no end of the answer"
		switch {
		case part == partConnect:
			what = "no connection"
		case unanswered:
			what = "no answer"
		case part == partHandshake:
			what = "no end of it"
		}
		return message{fmt.Sprintf("%s within %v (--timeout)", what, v.timeout), os.ErrDeadlineExceeded}
	case part == partConnect:
		return err
	case kind == kindCertificate:
		return message{printable(err.Error()), err}
	case kind == kindClosed && unanswered:
		return message{"the server closed the connection without an answer", err}
	case kind == kindClosed:
		return message{"the server closed the connection in the middle of it", err}
	case kind == kindReset && unanswered:
		return message{"the server reset the connection without an answer", err}
	case kind == kindReset:
		return message{"the server reset the connection in the middle of it", err}
	}
	return err
}

// printable quotes a text that has control characters. crypto/x509's errors have the names
// in a certificate as they are, and those could give orders to the terminal.
func printable(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	return strconv.Quote(text)
}

// message is an error with a text of its own.
type message struct {
	text string
	err  error
}

func (m message) Error() string { return m.text }
func (m message) Unwrap() error { return m.err }
