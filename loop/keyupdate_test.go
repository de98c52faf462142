package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A client that makes its TLS 1.3 records itself: crypto/tls, which does the
// handshake, sends no KeyUpdate, no bad record, no part of one, and no alert of
// the caller's choice. And what two jobs, or two goroutines, are served by.

// Types of records, and of handshake messages (RFC 8446, sections 5.1 and 4).
const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23

	messageTicket    = 4
	messageKeyUpdate = 24
)

// Alerts (RFC 8446, section 6).
const (
	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertBadRecordMAC      = 20
	alertInternalError     = 80
	alertUserCanceled      = 90
)

// alertError is an alert of the server's other than close_notify.
type alertError byte

func (e alertError) Error() string { return fmt.Sprintf("the server's alert %d", byte(e)) }

var errSuite = errors.New("the standard library does not export what this cipher suite needs")

// tlsPeer is the client after its handshake. One goroutine may read while another
// sends. What makes records returns them unsent, to be joined and cut: but each
// has its number, so that they go in the order in which they were made.
type tlsPeer struct {
	raw     *net.TCPConn
	br      *bufio.Reader
	in, out trafficKeys
	plain   []byte // that Read has not returned yet
	err     error  // what every further Read ends with
	updates int    // KeyUpdates of the server's
}

// newTLSPeer does the handshake on raw.
func newTLSPeer(raw net.Conn) (*tlsPeer, error) {
	p := &tlsPeer{raw: raw.(*net.TCPConn), br: bufio.NewReaderSize(raw, 32<<10)}
	var secrets bytes.Buffer
	cfg := clientConfig()
	cfg.MinVersion, cfg.KeyLogWriter = tls.VersionTLS13, &secrets
	// A fallback to another key exchange would cost every handshake a round trip.
	cfg.CurvePreferences = []tls.CurveID{tls.X25519}
	c := tls.Client(&recordReader{Conn: raw, br: p.br}, cfg)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	var k trafficKeys
	switch suite := c.ConnectionState().CipherSuite; suite {
	case tls.TLS_AES_128_GCM_SHA256:
		k = trafficKeys{hash: sha256.New, keySize: 16}
	case tls.TLS_AES_256_GCM_SHA384:
		k = trafficKeys{hash: sha512.New384, keySize: 32}
	default: // a client cannot choose its suites of TLS 1.3
		return nil, fmt.Errorf("%w: %s", errSuite, tls.CipherSuiteName(suite))
	}
	p.in, p.out = k, k
	for line := range strings.Lines(secrets.String()) {
		f := strings.Fields(line)
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			return nil, err
		}
		switch f[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			p.out.set(secret)
		case "SERVER_TRAFFIC_SECRET_0":
			p.in.set(secret)
		}
	}
	if p.in.aead == nil || p.out.aead == nil {
		return nil, errors.New("crypto/tls has not logged its secrets")
	}
	return p, nil
}

// recordReader gives crypto/tls no more than one record at a time, so that it has
// read nothing beyond the handshake when that ends.
type recordReader struct {
	net.Conn
	br   *bufio.Reader
	left int // of the record
}

func (r *recordReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		head, err := r.br.Peek(5)
		if err != nil {
			return 0, err
		}
		r.left = len(head) + int(binary.BigEndian.Uint16(head[3:]))
	}
	n, err := r.br.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// trafficKeys are those of one direction (RFC 8446, section 7.3).
type trafficKeys struct {
	hash    func() hash.Hash
	keySize int
	secret  []byte
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
}

func (k *trafficKeys) set(secret []byte) {
	block, err := aes.NewCipher(k.expand(secret, "key", k.keySize))
	if err != nil {
		panic(err)
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	k.secret, k.iv, k.seq = secret, k.expand(secret, "iv", k.aead.NonceSize()), 0
}

// update follows a KeyUpdate.
func (k *trafficKeys) update() { k.set(k.expand(k.secret, "traffic upd", len(k.secret))) }

// expand is HKDF-Expand-Label with an empty context.
func (k *trafficKeys) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	b, err := hkdf.Expand(k.hash, secret, info, n)
	if err != nil {
		panic(err)
	}
	return b
}

// nonce returns that of the next record.
func (k *trafficKeys) nonce() []byte {
	n := bytes.Clone(k.iv)
	tail := n[len(n)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^k.seq)
	k.seq++
	return n
}

// seal returns a record.
func (k *trafficKeys) seal(typ byte, data []byte) []byte {
	inner := append(bytes.Clone(data), typ)
	head := recordHead(recordData, len(inner)+k.aead.Overhead())
	return k.aead.Seal(head, k.nonce(), inner, head)
}

func recordHead(typ byte, n int) []byte { return []byte{typ, 3, 3, byte(n >> 8), byte(n)} }

// open returns what a record holds.
func (k *trafficKeys) open(head, sealed []byte) (typ byte, data []byte, err error) {
	data, err = k.aead.Open(sealed[:0], k.nonce(), sealed, head)
	if err != nil {
		return 0, nil, err
	}
	data = bytes.TrimRight(data, "\x00") // padding
	if len(data) == 0 {
		return 0, nil, errors.New("a record without a type")
	}
	return data[len(data)-1], data[:len(data)-1], nil
}

// data returns records of application data, at least one.
func (p *tlsPeer) data(b []byte) []byte {
	const most = 16 << 10
	var records []byte
	for len(b) > most {
		records = append(records, p.out.seal(recordData, b[:most])...)
		b = b[most:]
	}
	return append(records, p.out.seal(recordData, b)...)
}

// keyUpdate returns a KeyUpdate, which may ask for the server's, and goes over to
// the next key.
func (p *tlsPeer) keyUpdate(request bool) []byte {
	msg := []byte{messageKeyUpdate, 0, 0, 1, 0}
	if request {
		msg[4] = 1
	}
	record := p.out.seal(recordHandshake, msg)
	p.out.update()
	return record
}

func (p *tlsPeer) keyUpdates(n int, request bool) (records []byte) {
	for range n {
		records = append(records, p.keyUpdate(request)...)
	}
	return records
}

// splitKeyUpdate is a KeyUpdate in two records.
func (p *tlsPeer) splitKeyUpdate() []byte {
	a := p.out.seal(recordHandshake, []byte{messageKeyUpdate, 0})
	b := p.out.seal(recordHandshake, []byte{0, 1, 1})
	p.out.update()
	return append(a, b...)
}

func (p *tlsPeer) closeNotify() []byte { return p.out.seal(recordAlert, []byte{1, alertCloseNotify}) }

func (p *tlsPeer) fatalAlert(alert byte) []byte { return p.out.seal(recordAlert, []byte{2, alert}) }

// garbage is a record that no key has sealed.
func garbage() []byte { return append(recordHead(recordData, 40), make([]byte, 40)...) }

// send sends records, or parts of them.
func (p *tlsPeer) send(b []byte) error {
	_, err := p.raw.Write(b)
	return err
}

// Write sends application data.
func (p *tlsPeer) Write(b []byte) (int, error) { return len(b), p.send(p.data(b)) }

// Read reads application data. It returns io.EOF after close_notify, an
// alertError after another alert, and io.ErrUnexpectedEOF if the connection ends
// without either.
func (p *tlsPeer) Read(b []byte) (int, error) {
	for len(p.plain) == 0 {
		if p.err == nil {
			p.plain, p.err = p.next()
		}
		if p.err != nil {
			return 0, p.err
		}
	}
	n := copy(b, p.plain)
	p.plain = p.plain[n:]
	return n, nil
}

// next reads a record, and returns the application data it holds.
func (p *tlsPeer) next() ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(p.br, head); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	sealed := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(p.br, sealed); err != nil {
		return nil, err
	}
	typ, data, err := p.in.open(head, sealed)
	if err != nil {
		return nil, err
	}
	switch typ {
	case recordData:
		return data, nil
	case recordAlert:
		if len(data) == 2 && data[1] == alertCloseNotify {
			return nil, io.EOF
		}
		if len(data) == 2 {
			return nil, alertError(data[1])
		}
	case recordHandshake: // crypto/tls puts each message into a record of its own
		if len(data) == 5 && data[0] == messageKeyUpdate {
			p.updates++
			p.in.update()
			return nil, nil
		}
		if len(data) > 4 && data[0] == messageTicket {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("a record of type %d: %x", typ, data)
}

// expectClosed proves that the server has said no more than close_notify after the
// end that the peer has read, and closed the connection.
func (p *tlsPeer) expectClosed(t testing.TB) {
	t.Helper()
	if _, ok := p.err.(alertError); ok { // crypto/tls says close_notify all the same
		if b, err := p.next(); len(b) != 0 || err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes, %v, after an alert", len(b), err)
		}
	}
	if n, err := io.Copy(io.Discard, p.br); n != 0 || err != nil {
		t.Errorf("%d bytes after the end, error %v", n, err)
	}
}

// connectTLS is connect of a tlsPeer, whose kernel keeps little for it, so that a
// server soon meets one that does not read.
func connectTLS(t testing.TB, addr net.Addr) *tlsPeer {
	t.Helper()
	raw, err := dialSmall(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	p, err := newTLSPeer(raw)
	if errors.Is(err, errSuite) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return p
}

// dialSmall dials with small buffers.
func dialSmall(addr net.Addr) (net.Conn, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(2 * testkit.Patience)) // the longest of these tests takes seconds
	c.(*net.TCPConn).SetReadBuffer(smallBuffer)
	c.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	return c, nil
}

// smallBuffer is what socket buffers are set to. Systems double it, or more, and
// round it.
const smallBuffer = 64 << 10

// secured is a TLS connection as the tests' servers see it: a *loop.TLSConn or a
// *tls.Conn.
type secured interface {
	net.Conn
	CloseWrite() error
}

// session is a connection of a server that runs jobs or goroutines.
type session struct {
	secured
	beside func(func()) error          // runs a function in another of them
	wait   func(<-chan struct{}) error // waits
}

// tlsKind is a kind of server. It serves sessions by h, and closes them when h
// returns.
type tlsKind struct {
	name  string
	loop  *loop.Loop
	serve func(t testing.TB, h func(s session)) net.Addr
}

// loopKind serves jobs on l.
func loopKind(l *loop.Loop) tlsKind {
	return tlsKind{"loop", l, func(t testing.TB, h func(s session)) net.Addr {
		return looptest.Listen(t, l, &loop.TLSHandler{Config: serverConfig(), Handler: func(ctx context.Context, c *loop.TLSConn) error {
			if err := c.NetConn().SetWriteBuffer(smallBuffer); err != nil {
				return err
			}
			h(session{c,
				func(f func()) error {
					return l.Go(func(context.Context) error { f(); return nil })
				},
				func(done <-chan struct{}) error {
					return loop.Await(ctx, func(wake func()) { go func() { <-done; wake() }() })
				},
			})
			return nil
		}})
	}}
}

// goroutineKind is what the loop has to behave like.
func goroutineKind() tlsKind {
	return tlsKind{"goroutines", nil, func(t testing.TB, h func(s session)) net.Addr {
		testkit.CheckLeaks(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		t.Cleanup(func() { ln.Close(); all.Wait() })
		all.Go(func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { raw.Close() }) // ends what a failed test has left
				all.Go(func() {
					raw.(*net.TCPConn).SetWriteBuffer(smallBuffer)
					c := tls.Server(raw, serverConfig())
					defer c.Close()
					if err := c.Handshake(); err != nil {
						return
					}
					h(session{c,
						func(f func()) error { all.Go(f); return nil },
						func(done <-chan struct{}) error { <-done; return nil },
					})
				})
			}
		})
		return ln.Addr()
	}}
}

// bothKinds runs a test with each kind of server.
func bothKinds(t *testing.T, cfg loop.Config, f func(t *testing.T, k tlsKind)) {
	t.Run("goroutines", func(t *testing.T) { f(t, goroutineKind()) })
	t.Run("loop", func(t *testing.T) { f(t, loopKind(looptest.New(t, cfg))) })
}

// class tells errors apart, but for their addresses and for who is told first of a
// reset.
func class(err error) string {
	var oe *net.OpError
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &oe):
		return oe.Op + ": " + oe.Err.Error()
	}
	return err.Error()
}

// patternBytes is what the streams of the tests repeat. Its length has no factor in
// common with those of records and buffers.
var patternBytes = sync.OnceValue(func() []byte {
	b := make([]byte, 1_000_003)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// fillPattern fills b with what a stream has at offset off.
func fillPattern(b []byte, off int64) {
	for p := patternBytes(); len(b) > 0; {
		n := copy(b, p[off%int64(len(p)):])
		b, off = b[n:], off+int64(n)
	}
}

// isPattern reports whether b is what fillPattern makes.
func isPattern(b []byte, off int64) bool {
	for p := patternBytes(); len(b) > 0; {
		want := p[off%int64(len(p)):]
		n := min(len(b), len(want))
		if !bytes.Equal(b[:n], want[:n]) {
			return false
		}
		b, off = b[n:], off+int64(n)
	}
	return true
}

// readPattern reads the pattern until r ends, and returns how much that was.
func readPattern(t testing.TB, r io.Reader) (n int64, err error) {
	t.Helper()
	buf := make([]byte, 32<<10)
	for {
		m, err := r.Read(buf)
		if !isPattern(buf[:m], n) {
			t.Fatalf("bytes %d to %d of the stream are wrong", n, n+int64(m))
		}
		if n += int64(m); err != nil {
			return n, err
		}
	}
}
