// Package gnetjobs gives servers built on gnet (github.com/panjf2000/gnet) TLS,
// by the standard library's crypto/tls as it is, and lets code that blocks run
// on their event loops.
//
// [TLS] wraps a server's gnet.EventHandler. What the handler sees of a
// connection begins after the handshake and is plaintext:
//
//	gnet.Run(gnetjobs.TLS(handler, cfg, gnetjobs.Options{}), "tcp://:8443")
//
// [TLSClient] and [Dial] do the same for a gnet.Client. [Job] runs a function
// that blocks, a protocol library say, on a connection's event loop; [Jobs]
// wraps the handler of a server that wants that without TLS.
//
// # How it works
//
// A handshake is a job: where crypto/tls would wait for the peer, or for the
// signature of a key engine (package engine), the job pauses and the event
// loop goes on. Afterwards no job is needed, and an idle connection has none:
// crypto/tls is called when bytes have come, and keeps its state when they do
// not make a whole record. Each event loop has a jobs.Pool of its own.
//
// # When more comes than can be done
//
// Work in progress goes first. An event loop serves the connections whose
// handshake is done, and lets handshakes go on that have begun, before it begins
// others: those wait in a queue, first come first served, and begin a few at a
// time, for 0.2 ms or one, between two polls of gnet's. Options.MaxHandshakes
// bounds how many are under way. A handshake whose client has gone is not begun,
// and when the queue does not get shorter, clients that have waited for longer
// than Options.MaxWait are turned away. Options.OnHandshake is told of each:
// [ErrClientGone], [ErrOverloaded], or [ErrHandshakeTimeout], which holds in the
// queue too.
//
// gnet does not let this package decide what it accepts and reads. It accepts
// whatever comes, so the queue is of connections that have been accepted, with
// their ClientHellos in memory. Nothing bounds their number but the limit on
// descriptors, and the time that they are kept for.
//
// # The connections a handler sees
//
// Their methods have gnet's meaning and its rules of who may call them:
// AsyncWrite, AsyncWritev, Wake, Close, CloseWithCallback, EventLoop and those
// of gnet.Socket any goroutine, the others the event loop's. There are these
// differences:
//
//   - Of the bytes a handler has left unread, and of those a peer does not
//     take, a connection keeps a bounded number, and where that can be done the
//     peer is made to wait: see [Options].
//   - Closing a connection sends first what waits to be sent, however much that
//     is, as long as the peer takes some within Options.WriteTimeout; then what
//     OnClose writes, and a close_notify alert (RFC 8446, section 6.1). Then,
//     on Unix systems, the sending side is shut, and gnet keeps the connection,
//     and counts it, until the peer has closed it too, within
//     Options.LingerTimeout: closed at once, it could lose the end of what was
//     written. To the handler it is closed already. If the peer ends its side of
//     the TCP connection, or the event loop ends, gnet sends no more than the
//     socket takes at once.
//   - OnClose's error is nil when this side has closed the connection, io.EOF
//     when the peer has sent close_notify, and matches io.ErrUnexpectedEOF when
//     it has gone without. When the connection has failed, it says why.
//   - OnClose is called for connections that OnOpen has been called for:
//     Options.OnHandshake tells of the others.
//   - OutboundBuffered counts encrypted bytes, and ReadFrom sends what it
//     reads without waiting for Flush.
//   - EventLoop().Close does not call OnClose before the callback in which it is
//     called has returned.
//
// Packets of UDP listeners are passed on to the handler as they are.
package gnetjobs

import (
	"crypto/tls"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/internal/tlsio"
)

// Options bound what a peer can use up. The zero value is a good choice.
type Options struct {
	// HandshakeTimeout bounds the time from accepting a connection to the end
	// of its handshake: 0 for 10 seconds, negative for no bound.
	HandshakeTimeout time.Duration

	// WriteTimeout is how long a peer may take nothing of what waits to be sent
	// to it: 0 for 30 seconds, negative for no bound.
	WriteTimeout time.Duration

	// IdleTimeout bounds a Read inside a Job that has no deadline of its own: 0
	// for two minutes, negative for no bound. The time between events is the
	// handler's to bound, as it is without this package.
	IdleTimeout time.Duration

	// LingerTimeout is how long a connection that this side has closed is kept
	// for its peer to close it too, after all has been sent and OnClose has
	// returned: 0 for 5 seconds, negative for not at all. What comes meanwhile is
	// dropped, a megabyte of it at most. The kernel would reset a connection that
	// is closed while the peer still sends, and the end of what was written would
	// be lost. No more than MaxJobs connections of an event loop linger at a
	// time. On Windows none does, nor one that SetLinger was called for.
	LingerTimeout time.Duration

	// MaxInbound is the most bytes of a connection that may have arrived and
	// not been read: 0 for 4 MiB, negative for no bound. A connection with more
	// is closed, with ErrInboundFull. While a Job does not read, the peer is made
	// to wait before, where that can be done: on Linux, but for Unix sockets,
	// edge-triggered events and gnet's build tag poll_opt. With less than 128
	// KiB, twice what gnet reads at once, that may come too late.
	MaxInbound int

	// MaxOutbound is the most bytes that may wait to be sent when a Write
	// begins: 0 for 16 MiB, negative for no bound. If there are more, the
	// connection is closed, with ErrOutboundFull. Inside a Job, Write waits
	// instead, long before. And where a peer can be made to wait, a handler gets
	// no OnTraffic, but for Wake's, while more than a quarter of a positive
	// MaxOutbound waits to be sent.
	MaxOutbound int

	// MaxJobs is the most jobs at a time on an event loop: 0 for 10,000,
	// negative for no bound. Further ones wait for one to end.
	MaxJobs int

	// MaxHandshakes is the most handshakes at a time on an event loop of a
	// server: 0 for three quarters of MaxJobs, but at least one, negative for no
	// bound but MaxJobs. Further ones wait in the queue. So clients that begin a
	// handshake and do not go on leave jobs for those whose handshake is done.
	// (Of a client's handshakes as many may be under way as MaxJobs allows.)
	MaxHandshakes int

	// MaxWait is how long a server's client may wait for its handshake to begin
	// while the event loop does not keep up: 0 for 100 milliseconds, negative for
	// no bound. A queue that stands, so that clients give up in it, or wait in it
	// for 20 times MaxWait, is too long. Until it has become short again, who has
	// waited for more than MaxWait is turned away: the connection is reset, and
	// OnHandshake's error is ErrOverloaded. A burst that is worked off soon costs
	// nobody the connection. On Linux the time counts that a TCP connection waited
	// for gnet to accept it.
	MaxWait time.Duration

	// OnHandshake, if not nil, is called on the event loop when a connection's
	// handshake has ended, before OnOpen, with the time since the connection
	// was accepted, or dialled, and the error, nil if it succeeded.
	OnHandshake func(c gnet.Conn, took time.Duration, err error)
}

// TLS returns an EventHandler for gnet.Run or gnet.Rotate that speaks TLS to
// clients and passes the plaintext on to handler. cfg is used as it is: what
// crypto/tls allows to change while a server runs may be changed. It panics if
// handler or cfg is nil.
//
// Connections that a server registers with its own event loops are served in
// the same way: they too are the server's side of TLS.
func TLS(handler gnet.EventHandler, cfg *tls.Config, opts Options) gnet.EventHandler {
	if cfg == nil {
		panic("gnetjobs: TLS: cfg is nil")
	}
	h := newHandler("TLS", handler, opts)
	h.cfg = cfg
	return h
}

// TLSClient is TLS for the connections of a gnet.Client: use [Dial] to make
// them. cfg needs a ServerName or InsecureSkipVerify, but for connections that
// Dial makes. TLS 1.2 renegotiation is refused.
func TLSClient(handler gnet.EventHandler, cfg *tls.Config, opts Options) gnet.EventHandler {
	if cfg == nil {
		panic("gnetjobs: TLSClient: cfg is nil")
	}
	h := newHandler("TLSClient", handler, opts)
	h.cfg, h.client = tlsio.WithoutRenegotiation(cfg), true // cloned once, and not for each connection
	return h
}

// Jobs returns an EventHandler that passes everything on to handler, without
// TLS, and lets it call [Job]. The limits of opts hold, and connections are as
// the package comment says, where that is not about TLS. It panics if handler
// is nil.
func Jobs(handler gnet.EventHandler, opts Options) gnet.EventHandler {
	return newHandler("Jobs", handler, opts)
}

// ConnectionState returns the state of c's TLS connection, once its handshake
// has ended. Before, and for a connection without TLS, it is the zero value. It
// is for the event loop's goroutine, jobs included.
func ConnectionState(c gnet.Conn) tls.ConnectionState {
	w, ok := c.(*conn)
	if !ok {
		return tls.ConnectionState{}
	}
	return w.tls.State()
}
