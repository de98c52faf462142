package gnetjobs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

var (
	// ErrInboundFull closes a connection that had more than Options.MaxInbound bytes
	// unread, or whose peer sent too much during the handshake.
	ErrInboundFull = errors.New("gnetjobs: more bytes unread than Options.MaxInbound allows")

	// ErrOutboundFull closes a connection whose peer did not take what was sent. The
	// Write that found more than Options.MaxOutbound bytes waiting returns it too.
	ErrOutboundFull = errors.New("gnetjobs: more bytes waiting to be sent than Options.MaxOutbound allows")

	// ErrHandshakeTimeout ends a handshake after Options.HandshakeTimeout. It matches
	// os.ErrDeadlineExceeded.
	ErrHandshakeTimeout = fmt.Errorf("gnetjobs: handshake not done within Options.HandshakeTimeout: %w", os.ErrDeadlineExceeded)

	// ErrOverloaded is the error OnHandshake gets for a client that was turned away
	// before its handshake began, because it had waited longer than Options.MaxWait
	// and the event loop could not keep up.
	ErrOverloaded = errors.New("gnetjobs: overloaded: turned away after Options.MaxWait")

	// ErrClientGone is the error OnHandshake gets for a client that left while its
	// handshake waited to begin.
	ErrClientGone = errors.New("gnetjobs: client gone before its handshake began")

	// ErrWriteTimeout closes a connection whose peer took nothing for
	// Options.WriteTimeout. It matches os.ErrDeadlineExceeded.
	ErrWriteTimeout = fmt.Errorf("gnetjobs: the peer took nothing within Options.WriteTimeout: %w", os.ErrDeadlineExceeded)

	// ErrNotWrapped is returned for a gnet.Conn that does not come from an
	// EventHandler of this package.
	ErrNotWrapped = errors.New("gnetjobs: not a connection of TLS, TLSClient or Jobs")

	// ErrJobRunning is returned by Job for a connection that already has a job.
	ErrJobRunning = errors.New("gnetjobs: the connection already has a job")

	// ErrQueueFull says that too many calls from other goroutines wait for the event
	// loop, or too many bytes for one connection.
	ErrQueueFull = errors.New("gnetjobs: too many calls or bytes are waiting for the event loop")

	// ErrNotInJob says that a net.Conn which Job gave to its function was used
	// outside that job, such as on another goroutine.
	ErrNotInJob = errors.New("gnetjobs: used outside the job it was given to")

	errTruncated    = fmt.Errorf("gnetjobs: connection ended without close_notify: %w", io.ErrUnexpectedEOF)
	errNotOpen      = errors.New("gnetjobs: write before OnOpen")
	errWriteClosed  = errors.New("gnetjobs: write after CloseWrite")
	errPauseBlocked = errors.New("gnetjobs: the job would have to wait, but pausing is blocked")
)
