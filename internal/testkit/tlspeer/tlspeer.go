// Package tlspeer is a TLS 1.3 client for tests that makes its records itself. crypto/tls,
// which does the handshake, sends no KeyUpdate, no bad record, no part of one, and no
// alert of the caller's choice.
package tlspeer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// Types of records, and of handshake messages (RFC 8446, sections 5.1 and 4).
const (
	RecordCCS       = 20
	RecordAlert     = 21
	RecordHandshake = 22
	RecordData      = 23

	MessageTicket    = 4
	MessageKeyUpdate = 24
)

// Alerts (RFC 8446, section 6).
const (
	AlertCloseNotify       = 0
	AlertUnexpectedMessage = 10
	AlertBadRecordMAC      = 20
	AlertInternalError     = 80
	AlertUserCanceled      = 90
)

// AlertError is an alert of the server's other than close_notify.
type AlertError byte

func (e AlertError) Error() string { return fmt.Sprintf("the server's alert %d", byte(e)) }

// ErrSuite is returned by New if the server has chosen a suite other than those of AES.
var ErrSuite = errors.New("the standard library does not export what this cipher suite needs")

// Peer is the client after its handshake. One goroutine may read while another
// sends. What makes records returns them unsent, to be joined and cut: but each
// has its number, so that they go in the order in which they were made.
type Peer struct {
	Raw     *net.TCPConn
	Updates int // KeyUpdates that Read has met

	br      *bufio.Reader
	in, out trafficKeys
	plain   []byte // that Read has not returned yet
	err     error  // what every further Read ends with
}

// New does the handshake on raw, a TCP connection, with a copy of cfg.
func New(raw net.Conn, cfg *tls.Config) (*Peer, error) {
	p := &Peer{Raw: raw.(*net.TCPConn), br: bufio.NewReaderSize(raw, 32<<10)}
	var secrets bytes.Buffer
	cfg = cfg.Clone()
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
		return nil, fmt.Errorf("%w: %s", ErrSuite, tls.CipherSuiteName(suite))
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

// Seal returns a record. It changes no key, even if it is a KeyUpdate.
func (p *Peer) Seal(typ byte, data []byte) []byte { return p.out.seal(typ, data) }

// RecordHead returns the first bytes of a record of n bytes.
func RecordHead(typ byte, n int) []byte { return []byte{typ, 3, 3, byte(n >> 8), byte(n)} }

// Data returns records of application data, at least one.
func (p *Peer) Data(b []byte) []byte {
	const most = 16 << 10
	var records []byte
	for len(b) > most {
		records = append(records, p.out.seal(RecordData, b[:most])...)
		b = b[most:]
	}
	return append(records, p.out.seal(RecordData, b)...)
}

// KeyUpdate returns a KeyUpdate, which may ask for the server's, and goes over to
// the next key.
func (p *Peer) KeyUpdate(request bool) []byte {
	msg := []byte{MessageKeyUpdate, 0, 0, 1, 0}
	if request {
		msg[4] = 1
	}
	record := p.out.seal(RecordHandshake, msg)
	p.out.update()
	return record
}

// KeyUpdates returns n of them.
func (p *Peer) KeyUpdates(n int, request bool) (records []byte) {
	for range n {
		records = append(records, p.KeyUpdate(request)...)
	}
	return records
}

// SplitKeyUpdate is a KeyUpdate in two records.
func (p *Peer) SplitKeyUpdate() []byte {
	a := p.out.seal(RecordHandshake, []byte{MessageKeyUpdate, 0})
	b := p.out.seal(RecordHandshake, []byte{0, 1, 1})
	p.out.update()
	return append(a, b...)
}

// CloseNotify returns the alert that ends what the peer has to say.
func (p *Peer) CloseNotify() []byte { return p.out.seal(RecordAlert, []byte{1, AlertCloseNotify}) }

// FatalAlert returns an alert that is marked as fatal.
func (p *Peer) FatalAlert(alert byte) []byte { return p.out.seal(RecordAlert, []byte{2, alert}) }

// Garbage is a record that no key has sealed.
func Garbage() []byte { return append(RecordHead(RecordData, 40), make([]byte, 40)...) }

// Send sends records, or parts of them.
func (p *Peer) Send(b []byte) error {
	_, err := p.Raw.Write(b)
	return err
}

// Write sends application data.
func (p *Peer) Write(b []byte) (int, error) { return len(b), p.Send(p.Data(b)) }

// Read reads application data. It returns io.EOF after close_notify, an
// AlertError after another alert, and io.ErrUnexpectedEOF if the connection ends
// without either.
func (p *Peer) Read(b []byte) (int, error) {
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
func (p *Peer) next() ([]byte, error) {
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
	case RecordData:
		return data, nil
	case RecordAlert:
		if len(data) == 2 && data[1] == AlertCloseNotify {
			return nil, io.EOF
		}
		if len(data) == 2 {
			return nil, AlertError(data[1])
		}
	case RecordHandshake: // crypto/tls puts each message into a record of its own
		if len(data) == 5 && data[0] == MessageKeyUpdate {
			p.Updates++
			p.in.update()
			return nil, nil
		}
		if len(data) > 4 && data[0] == MessageTicket {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("a record of type %d: %x", typ, data)
}

// ExpectClosed proves that the server has said no more than close_notify after the
// end that the peer has read, and closed the connection.
func (p *Peer) ExpectClosed(t testing.TB) {
	t.Helper()
	if _, ok := p.err.(AlertError); ok { // crypto/tls says close_notify all the same
		if b, err := p.next(); len(b) != 0 || err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes, %v, after an alert", len(b), err)
		}
	}
	if n, err := io.Copy(io.Discard, p.br); n != 0 || err != nil {
		t.Errorf("%d bytes after the end, error %v", n, err)
	}
}
