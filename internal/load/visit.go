package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// visit is one connection: what was done on it, and when.
type visit struct {
	target   *target
	dialer   *loop.Dialer
	measured bool // it is one of the count, in a closed loop with a count
	probe    bool // it is a probe before the run
	offered  bool // it offered a session to resume

	timeout  time.Duration
	patience time.Duration // 0: it waits until the timeout
	gaveUp   bool          // its patience ran out
	held     *holding      // the connection is to be held open
	parked   bool          // the connection has no job: it waits for its answer, or is held
	abort    abortPhase    // where the client aborts
	aborted  bool          // it has

	due       time.Time
	began     time.Time
	connected time.Time
	shaken    time.Time // when the handshake was done
	answered  time.Time // when the first byte of the answer had come
	ended     time.Time

	read, written int64 // bytes on the socket
	agreed        negotiated
	certificate   *certificate
}

// ticketTimeout is how long to wait for a session ticket. Servers send it right after
// the handshake.
const ticketTimeout = 2 * time.Second

// lingerTimeout is how long to wait for the server to close a connection that is not
// reset.
const lingerTimeout = time.Second

// visit makes a connection, a handshake and, if the configuration asks for one, a
// request. It runs in a job. If the answer does not come at once, visit parks the
// connection, and another job goes on with it.
func (w *worker) visit(ctx context.Context, v *visit) error {
	v.began = time.Now()
	if v.due.IsZero() {
		v.due = v.began
	}
	if !v.probe {
		n := w.visits
		w.visits++
		v.target = w.targets[n%len(w.targets)]
		v.dialer = v.target.dialers[n/len(w.targets)%len(v.target.dialers)]
		v.patience = w.drawPatience()
		v.abort = w.drawAbort()
	}
	dialer, timeout := v.dialer, w.run.cfg.Timeout
	v.timeout = timeout
	if v.patience > 0 {
		timeout = v.patience
		hasty := *dialer
		hasty.Timeout = timeout
		dialer = &hasty
	}
	raw, err := dialer.Dial(ctx, v.target.network, v.target.address)
	if err != nil {
		return v.failed(partConnect, err)
	}
	v.connected = time.Now()
	defer v.leave(raw)
	raw.SetDeadline(v.began.Add(timeout))
	if w.run.cfg.Reset {
		raw.SetLinger(0)
	}
	if w.aborts(v, abortConnected, raw) {
		return errAborted
	}
	config, resuming := v.target.full, w.resumeNext(v)
	if resuming {
		config = v.target.resume
	}
	before := v.target.session.state
	v.offered = resuming && before != nil
	c := &conn{Conn: raw, w: w, v: v, resuming: resuming, stamp: v.target.session.stamp}
	c.opening = w.run.cfg.ProxyProtocol != 0 || v.abort == abortInHello || v.abort == abortAfterHello
	c.tls = tls.Client(c, config)
	if err := c.tls.HandshakeContext(context.Background()); err != nil { // only the deadline ends it
		if err = v.failed(partHandshake, err); v.aborted || v.gaveUp {
			v.target.session.restore(before)
		}
		return err
	}
	v.shaken = time.Now()
	v.ended = v.shaken
	state := c.tls.ConnectionState()
	v.agreed = negotiated{state.Version, state.CipherSuite, uint16(state.CurveID), state.NegotiatedProtocol, state.DidResume}
	v.certificate = w.certificates.of(state.PeerCertificates)
	w.rec.total.Handshakes++
	if state.DidResume {
		w.rec.total.Resumed++
	}
	if w.aborts(v, abortShaken, raw) {
		return errAborted
	}
	if w.run.cfg.Request != "" {
		if err := c.ask(); err != nil {
			return v.failed(partRequest, err)
		}
		if w.aborts(v, abortAsked, raw) {
			return errAborted
		}
		c.parking = !v.probe
	}
	if err = c.complete(); err == loop.ErrWouldBlock {
		err = c.park()
	}
	return err
}

// complete does what follows the handshake, or the request. While parking is set, it
// returns loop.ErrWouldBlock if no answer has come yet.
func (c *conn) complete() error {
	w, v := c.w, c.v
	if w.run.cfg.Request != "" {
		err := c.answer()
		if err == loop.ErrWouldBlock {
			return err
		}
		if err != nil {
			return v.failed(partRequest, err)
		}
		v.ended = time.Now()
		w.rec.total.Requests++
	}
	// In TLS 1.2, the ticket would have come in the handshake.
	if c.resuming && !v.agreed.resumed && v.agreed.version == tls.VersionTLS13 && v.target.session.stamp == c.stamp {
		c.waitForTicket(v.target.session)
	}
	if !v.probe && !w.lettingGo {
		if d := w.run.cfg.Hold.draw(w.random); d > 0 {
			v.held = w.newHeld(v, c.Conn, c.tls, d)
			return nil
		}
	}
	if !w.run.cfg.Reset || v.probe {
		if err := c.finish(); err != nil {
			w.rec.total.Handshakes-- // the server did not complete it
			return v.failed(partHandshake, err)
		}
	}
	return nil
}

// failed ends a visit with an error that names the part in which it happened.
func (v *visit) failed(part string, err error) error {
	v.ended = time.Now()
	if v.patience > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		v.gaveUp = true
		err = fmt.Errorf("%w after %v (--patience)", errGaveUp, v.patience)
	}
	return fmt.Errorf("%s: %w", part, v.explained(part, err))
}

// leave closes a connection, unless it is parked or will be. If the client gave up, that must
// not be a reset, which would tell the server that nobody waits for its answer.
func (v *visit) leave(raw *loop.Conn) {
	if v.held != nil || v.parked {
		return
	}
	if v.gaveUp {
		raw.SetLinger(-1)
	}
	raw.Close()
}

// resumeNext reports whether the next handshake is to resume a session. Handshakes
// that do are spread evenly. All probes do, to find out whether there are sessions.
func (w *worker) resumeNext(v *visit) bool {
	if v.probe {
		return w.run.cfg.Resume > 0
	}
	w.resumeShare += w.run.cfg.Resume
	if w.resumeShare < 1 {
		return false
	}
	w.resumeShare--
	return true
}

// conn is the connection below crypto/tls. It counts bytes. While waiting is set, it
// ends reading as soon as a session ticket has come.
type conn struct {
	*loop.Conn
	w        *worker
	v        *visit
	tls      *tls.Conn
	opening  bool // the first write is special
	resuming bool // the next handshakes need a session
	waiting  *session
	stamp    int  // of the session before the handshake
	parking  bool // a read returns loop.ErrWouldBlock where it would wait
	woken    bool // there is something to read, or the time is up
}

var errTicket = errors.New("there is a session ticket")

func (c *conn) Read(p []byte) (int, error) {
	if c.waiting != nil && c.waiting.stamp != c.stamp {
		return 0, errTicket
	}
	if c.parking && !c.woken && !c.Readable() {
		return 0, loop.ErrWouldBlock // crypto/tls can be read again after it
	}
	c.woken = false
	n, err := c.Conn.Read(p)
	c.v.read += int64(n)
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.opening {
		return c.writeHello(p)
	}
	n, err := c.Conn.Write(p)
	c.v.written += int64(n)
	return n, err
}

// writeHello writes the ClientHello, after a header of the PROXY protocol if there is to be
// one. A client that aborts may send less.
func (c *conn) writeHello(p []byte) (int, error) {
	c.opening = false
	out := p
	if c.v.abort == abortInHello {
		out = p[:len(p)/2]
	}
	if version := c.w.run.cfg.ProxyProtocol; version != 0 {
		header := make([]byte, 0, maxProxyHeader+len(out))
		out = append(appendProxyHeader(header, version, c.LocalAddr(), c.RemoteAddr()), out...)
	}
	if _, err := c.Write(out); err != nil {
		return 0, err
	}
	if c.w.aborts(c.v, abortInHello, c.Conn) || c.w.aborts(c.v, abortAfterHello, c.Conn) {
		return 0, errAborted
	}
	return len(p), nil
}

// waitForTicket reads until the server has sent a session ticket. In TLS 1.3, servers
// do that after the handshake. A missing ticket is no error: the result shows how many
// handshakes were resumed.
func (c *conn) waitForTicket(s *session) {
	c.waiting = s
	c.SetReadDeadline(time.Now().Add(ticketTimeout))
	var b [1]byte
	for {
		if _, err := c.tls.Read(b[:]); err != nil {
			break
		}
	}
	c.waiting = nil
}

// finish closes its side of the connection and waits until the server closes the
// other. Closing with unread data would be a reset. In TLS 1.3, the server's answer to
// the client's last message comes here too. If the server refuses the client by an
// alert, finish returns that as its error.
func (c *conn) finish() error {
	c.SetDeadline(time.Now().Add(lingerTimeout))
	c.tls.CloseWrite() // if the connection has failed, Read returns the error
	c.Conn.CloseWrite()
	var b [512]byte
	for {
		_, err := c.tls.Read(b[:])
		if err == nil {
			continue
		}
		if canceled(err) || strings.HasPrefix(kindOf(err), kindAlert) {
			return err
		}
		return nil
	}
}
