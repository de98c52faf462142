// Package gnetjobs adds TLS to servers built on gnet (github.com/panjf2000/gnet),
// using the standard library's unmodified crypto/tls. It also lets code that
// blocks run on gnet's event loops.
//
// [TLS] wraps a server's gnet.EventHandler. The handler sees a connection only
// after the handshake, and sees plaintext:
//
//	gnet.Run(gnetjobs.TLS(handler, cfg, gnetjobs.Options{}), "tcp://:8443")
//
// [TLSClient] and [Dial] do the same for a gnet.Client. [Job] runs a function that
// blocks, such as a protocol library, on a connection's event loop. [Jobs] wraps
// the handler of a server that wants jobs without TLS.
//
// # How it works
//
// A handshake is a job. Where crypto/tls would wait for the peer, or for the
// signature of a key engine (package engine), the job pauses and the event loop
// continues. After the handshake no job is needed, so an idle connection has none.
// crypto/tls is called when bytes have arrived, and keeps its state if they do not
// make a whole record. Each event loop has a jobs.Pool of its own.
//
// # Overload
//
// Work in progress goes first. An event loop serves the connections whose
// handshake is done, and continues handshakes that have begun, before it begins
// others. Those wait in a queue, first come, first served. Between two polls of
// gnet, handshakes begin for 0.2 ms, and at least one begins. Options.MaxHandshakes
// bounds how many are in progress.
//
// If a client has gone, its handshake does not begin. If the queue does not get
// shorter, clients that have waited longer than Options.MaxWait are turned away.
// Options.OnHandshake is called for each of them, with [ErrClientGone] or
// [ErrOverloaded]. A handshake can also end with [ErrHandshakeTimeout] in the
// queue.
//
// This package cannot decide what gnet accepts and reads. gnet accepts every
// connection, so the queue consists of accepted connections, with their
// ClientHellos in memory. Their number is limited only by the limit on descriptors
// and by the time for which they are kept.
//
// # The connections a handler sees
//
// The methods of a connection mean what they mean in gnet, and gnet's rules say who
// may call them. AsyncWrite, AsyncWritev, Wake, Close, CloseWithCallback,
// EventLoop and the methods of gnet.Socket may be called from any goroutine, the
// others only on the event loop's. There are these differences:
//
//   - A connection keeps only a bounded number of bytes that the handler has left
//     unread, or that the peer does not take. Where possible, the peer is made to
//     wait: see [Options].
//   - Closing a connection first sends all remaining output, as long as the peer
//     takes some within Options.WriteTimeout. Then it sends what OnClose writes,
//     and a close_notify alert (RFC 8446, section 6.1). On Unix systems the
//     connection then lingers: the sending side is shut, and gnet keeps and counts
//     the connection until the peer has closed it too, for up to
//     Options.LingerTimeout. Otherwise the end of what was written could be lost.
//     For the handler, it is closed already. If the peer ends its side of the TCP
//     connection, or the event loop ends, gnet sends only what the socket takes at
//     once.
//   - The error of OnClose is nil if this side has closed the connection, and
//     io.EOF if the peer has sent close_notify. It matches io.ErrUnexpectedEOF if
//     the peer has gone without sending one. If the connection has failed, it says
//     why.
//   - OnClose is only called for connections for which OnOpen has been called.
//     Options.OnHandshake is called for the others.
//   - OutboundBuffered counts encrypted bytes. ReadFrom sends what it reads without
//     waiting for Flush.
//   - EventLoop().Close calls OnClose only after the callback in progress has
//     returned.
//
// Packets of UDP listeners are passed on to the handler unchanged.
package gnetjobs

import (
	"crypto/tls"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/internal/tlsio"
)

// Options limit what a peer can use up. The zero value is a good choice.
type Options struct {
	// HandshakeTimeout bounds the time from accepting a connection to the end of its
	// handshake. 0 means 10 seconds; negative means no limit.
	HandshakeTimeout time.Duration

	// WriteTimeout is how long a peer may take none of the bytes that wait to be sent
	// to it. 0 means 30 seconds; negative means no limit.
	WriteTimeout time.Duration

	// IdleTimeout bounds a Read inside a Job that has no deadline of its own. 0 means
	// two minutes; negative means no limit. The handler has to bound the time between
	// events, as it has to without this package.
	IdleTimeout time.Duration

	// LingerTimeout is how long a connection that this side has closed is kept until
	// its peer closes it too, after everything has been sent and OnClose has
	// returned. 0 means 5 seconds; negative means not at all. At most a megabyte of
	// input is discarded meanwhile. Without lingering, the kernel would reset the
	// connection if the peer was still sending, and the end of what was written would
	// be lost.
	//
	// At most MaxJobs connections of an event loop linger at a time. Connections do
	// not linger on Windows, or after SetLinger has been called.
	LingerTimeout time.Duration

	// MaxInbound is the most bytes of a connection that may have arrived and not been
	// read. 0 means 4 MiB; negative means no limit. A connection with more is closed
	// with ErrInboundFull.
	//
	// If a Job does not read, the peer is made to wait before that, where possible:
	// on Linux, except for Unix sockets, edge-triggered events and gnet's build tag
	// poll_opt. If MaxInbound is less than 128 KiB, twice what gnet reads at once,
	// that may come too late.
	MaxInbound int

	// MaxOutbound is the most bytes that may be waiting to be sent when a Write
	// begins. 0 means 16 MiB; negative means no limit. If more are waiting, the
	// connection is closed with ErrOutboundFull. Inside a Job, Write waits instead,
	// and long before that limit.
	//
	// Where a peer can be made to wait (see MaxInbound), a handler gets no OnTraffic
	// while more than a quarter of a positive MaxOutbound waits to be sent, except
	// the one that Wake causes.
	MaxOutbound int

	// MaxJobs is the most jobs at a time on an event loop. 0 means 10,000; negative
	// means no limit. Further jobs wait for one to end.
	MaxJobs int

	// MaxHandshakes is the most handshakes at a time on an event loop of a server.
	// 0 means three quarters of MaxJobs, but at least one; negative means no limit
	// except MaxJobs. Further handshakes wait in the queue. So clients that begin a
	// handshake and do not finish it cannot use up all jobs: some are left for
	// connections whose handshake is done. (On a client, only MaxJobs limits
	// handshakes.)
	MaxHandshakes int

	// MaxWait is how long a server's client may wait for its handshake to begin
	// while the event loop cannot keep up. 0 means 100 milliseconds; negative means
	// no limit.
	//
	// The queue is too long if it does not get shorter, and clients give up in it or
	// wait in it for 20 times MaxWait. Until it is short again, clients that have
	// waited longer than MaxWait are turned away: the connection is reset, and
	// OnHandshake gets ErrOverloaded. A short burst turns nobody away. On Linux the
	// wait includes the time before gnet accepted a TCP connection.
	MaxWait time.Duration

	// OnHandshake, if not nil, is called on the event loop when a connection's
	// handshake has ended, before OnOpen. It gets the time since the connection was
	// accepted or dialled, and the error, or nil if the handshake succeeded.
	OnHandshake func(c gnet.Conn, took time.Duration, err error)
}

// TLS returns an EventHandler for gnet.Run or gnet.Rotate. It speaks TLS to
// clients, and passes the plaintext on to handler. cfg is not copied, so whatever
// crypto/tls allows to change while a server runs may be changed. TLS panics if
// handler or cfg is nil.
//
// Connections that a server registers with its own event loops are treated in the
// same way: they too get the server's side of TLS.
func TLS(handler gnet.EventHandler, cfg *tls.Config, opts Options) gnet.EventHandler {
	if cfg == nil {
		panic("gnetjobs: TLS: cfg is nil")
	}
	h := newHandler("TLS", handler, opts)
	h.cfg = cfg
	return h
}

// TLSClient returns an EventHandler for a gnet.Client, which speaks TLS to
// servers. Use [Dial] to make connections. For connections made in another way,
// cfg needs a ServerName or InsecureSkipVerify. TLS 1.2 renegotiation is refused.
// TLSClient panics if handler or cfg is nil.
func TLSClient(handler gnet.EventHandler, cfg *tls.Config, opts Options) gnet.EventHandler {
	if cfg == nil {
		panic("gnetjobs: TLSClient: cfg is nil")
	}
	h := newHandler("TLSClient", handler, opts)
	h.cfg, h.client = tlsio.WithoutRenegotiation(cfg), true // cloned here once, not for each connection
	return h
}

// Jobs returns an EventHandler that passes everything on to handler, without TLS,
// and lets handler call [Job]. The limits of opts apply, and so does what the
// package comment says about connections, apart from TLS. Jobs panics if handler
// is nil.
func Jobs(handler gnet.EventHandler, opts Options) gnet.EventHandler {
	return newHandler("Jobs", handler, opts)
}

// ConnectionState returns the state of c's TLS connection. Before its handshake has
// ended, and for a connection without TLS, it returns the zero value. It is for the
// event loop's goroutine, jobs included.
func ConnectionState(c gnet.Conn) tls.ConnectionState {
	w, ok := c.(*conn)
	if !ok {
		return tls.ConnectionState{}
	}
	return w.tls.State()
}
