package gnetjobs

import (
	"errors"
	"fmt"
	"io"
	"os"
)

var (
	// ErrInboundFull is why a connection was closed that had more than
	// Options.MaxInbound bytes unread, or whose peer sent too much during the
	// handshake.
	ErrInboundFull = errors.New("gnetjobs: more bytes unread than Options.MaxInbound allows")

	// ErrOutboundFull is why a connection was closed whose peer did not take
	// what was sent, and the error of the Write that found out.
	ErrOutboundFull = errors.New("gnetjobs: more bytes waiting to be sent than Options.MaxOutbound allows")

	// ErrHandshakeTimeout is why a handshake ended after
	// Options.HandshakeTimeout. It matches os.ErrDeadlineExceeded.
	ErrHandshakeTimeout = fmt.Errorf("gnetjobs: handshake not done within Options.HandshakeTimeout: %w", os.ErrDeadlineExceeded)

	// ErrOverloaded is OnHandshake's error for a client that was turned away
	// because it had waited for longer than Options.MaxWait and the event loop
	// could not keep up. Its handshake has not begun.
	ErrOverloaded = errors.New("gnetjobs: overloaded: turned away after Options.MaxWait")

	// ErrClientGone is OnHandshake's error for a client that went while its
	// handshake waited to begin.
	ErrClientGone = errors.New("gnetjobs: client gone before its handshake began")

	// ErrWriteTimeout is why a connection was closed whose peer took nothing
	// for Options.WriteTimeout. It matches os.ErrDeadlineExceeded.
	ErrWriteTimeout = fmt.Errorf("gnetjobs: nothing taken by the peer within Options.WriteTimeout: %w", os.ErrDeadlineExceeded)

	// ErrNotWrapped is the answer to a gnet.Conn that does not come from an
	// EventHandler of this package.
	ErrNotWrapped = errors.New("gnetjobs: not a connection of TLS, TLSClient or Jobs")

	// ErrJobRunning is Job's answer for a connection that has a job.
	ErrJobRunning = errors.New("gnetjobs: the connection has a job already")

	// ErrQueueFull says that too many calls from other goroutines wait for the
	// event loop, or too many bytes for one connection.
	ErrQueueFull = errors.New("gnetjobs: too much waits for the event loop")

	// ErrNotInJob is the error of a net.Conn that Job has given to its function, on
	// any other goroutine.
	ErrNotInJob = errors.New("gnetjobs: used outside the job it was given to")

	errTruncated    = fmt.Errorf("gnetjobs: connection ended without close_notify: %w", io.ErrUnexpectedEOF)
	errNotOpen      = errors.New("gnetjobs: write before OnOpen")
	errWriteClosed  = errors.New("gnetjobs: write after CloseWrite")
	errPauseBlocked = errors.New("gnetjobs: the job would have to wait, but pausing is blocked")
)
