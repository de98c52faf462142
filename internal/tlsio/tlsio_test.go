package tlsio

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// carrier is a Transport over a net.Pipe, on whose other end somebody waits.
// Once open, it fails the test if anything would wait.
type carrier struct {
	net.Conn
	t       *testing.T
	open    bool
	arrived bytes.Buffer
	queued  bytes.Buffer
}

func (c *carrier) Read(p []byte) (int, error) {
	if c.open {
		c.t.Error("Read after the handshake, which may wait")
	}
	return c.Conn.Read(p)
}

func (c *carrier) Write(p []byte) (int, error) {
	if c.open {
		c.t.Error("Write after the handshake, which may wait")
	}
	return c.Conn.Write(p)
}

func (c *carrier) ReadNow(p []byte) (int, error) {
	if c.arrived.Len() == 0 {
		return 0, ErrWouldBlock
	}
	return c.arrived.Read(p)
}

func (c *carrier) NetConn() net.Conn { return c.Conn }

func (c *carrier) Queue(p []byte) error { c.queued.Write(p); return nil }

// capture keeps what a client writes, and gives it what is put into it.
type capture struct {
	net.Conn
	on      bool
	written bytes.Buffer
	toRead  bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	if c.on {
		return c.written.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *capture) Read(p []byte) (int, error) {
	if c.on {
		return c.toRead.Read(p)
	}
	return c.Conn.Read(p)
}

// open returns both ends of a connection whose handshake is done.
func open(t *testing.T, version uint16) (*Conn, *carrier, *tls.Conn, *capture) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	side := &capture{Conn: b}
	client := tls.Client(side, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	var c Conn
	w := &carrier{Conn: a, t: t}
	cert := testkit.Certificate(testkit.ECDSAKey(), testkit.ECDSAKey(), "test")
	// Without tickets nobody has to read when the client is done.
	c.Server(w, &tls.Config{Certificates: []tls.Certificate{*cert}, SessionTicketsDisabled: true})
	if c.State().HandshakeComplete {
		t.Error("complete before the handshake")
	}
	if err := errors.Join(c.Handshake(context.Background()), <-done); err != nil {
		t.Fatal(err)
	}
	w.open, side.on = true, true
	return &c, w, client, side
}

// Nothing waits: what has not come is ErrWouldBlock, however often it is asked
// for, and the connection goes on where it was.
func TestNothingWaits(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, w, client, side := open(t, version)
		if c.State().Version != version {
			t.Errorf("version %x", c.State().Version)
		}
		client.Write([]byte("hello"))
		record := side.written.Bytes()
		for i, b := range record {
			var p [10]byte
			if n, err := c.Read(p[:]); n != 0 || err != ErrWouldBlock {
				t.Fatalf("after %d bytes of a record: %d, %v", i, n, err)
			}
			w.arrived.WriteByte(b)
		}
		var p [10]byte
		if n, err := c.Read(p[:]); string(p[:n]) != "hello" || err != nil {
			t.Errorf("read %q, %v", p[:n], err)
		}
		big := bytes.Repeat([]byte("x"), SealSize+1)
		sealed, n, err := c.Seal([]byte("before"), big)
		if n != SealSize || err != nil || !bytes.HasPrefix(sealed, []byte("before")) {
			t.Fatalf("%d bytes sealed, %v", n, err)
		}
		if w.queued.Len() > 0 {
			t.Error("what was sealed was sent too")
		}
		side.toRead.Write(sealed[len("before"):])
		got := make([]byte, n)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, big[:n]) {
			t.Errorf("what was sealed does not come out: %v", err)
		}
	}
}

// The end comes after the last bytes, and not with them. What crypto/tls says by
// itself is queued.
func TestEnds(t *testing.T) {
	c, w, client, side := open(t, tls.VersionTLS12)
	client.Write([]byte("bye"))
	client.CloseWrite()
	w.arrived.Write(side.written.Bytes())
	var p [10]byte
	if n, err := c.Read(p[:]); string(p[:n]) != "bye" || err != nil {
		t.Errorf("read %q, %v", p[:n], err)
	}
	if n, err := c.Read(p[:]); n != 0 || err != io.EOF {
		t.Errorf("then %d bytes, %v, want EOF", n, err)
	}
	if err := c.CloseWrite(); err != nil || w.queued.Len() == 0 {
		t.Errorf("CloseWrite: %v, %d bytes queued", err, w.queued.Len())
	}
	side.toRead.Write(w.queued.Bytes())
	if n, err := client.Read(p[:]); n != 0 || err != io.EOF {
		t.Errorf("the client reads %d bytes, %v, want EOF", n, err)
	}

	c, w, _, _ = open(t, tls.VersionTLS13)
	w.arrived.Write([]byte{23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	if _, err := c.Read(p[:]); err == nil || err == ErrWouldBlock || w.queued.Len() == 0 {
		t.Errorf("a bad record: %v, and %d bytes of an alert", err, w.queued.Len())
	}
}

// unheard is a context that tells nobody when it ends. Whoever asks learns it.
type unheard struct{ context.Context }

func (unheard) AfterFunc(func()) func() bool { return func() bool { return true } }

// lateKey is a key whose operations fail because the context has ended.
type lateKey struct {
	crypto.Signer
	ctx    context.Context
	expire func()
}

func (k lateKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	k.expire()
	return nil, k.ctx.Err()
}

// closeCounter counts calls of Close.
type closeCounter struct {
	*carrier
	closed int
}

func (c *closeCounter) Close() error {
	c.closed++
	return c.carrier.Close()
}

// A handshake whose context ends returns the context's error, also if the key has
// seen the end before crypto/tls.
func TestContextEndsInTheKey(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		expiring, expire := testkit.Expiring(t.Context())
		ctx := unheard{expiring}
		a, b := net.Pipe()
		defer b.Close()
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		ended := make(chan error, 1)
		go func() { ended <- client.Handshake() }()
		var c Conn
		w := &closeCounter{carrier: &carrier{Conn: a, t: t}}
		cert := testkit.Certificate(testkit.ECDSAKey(), lateKey{testkit.ECDSAKey(), ctx, expire}, "test")
		c.Server(w, &tls.Config{Certificates: []tls.Certificate{*cert}})
		testkit.WantErr(t, c.Handshake(ctx), context.DeadlineExceeded)
		if w.closed != 1 {
			t.Errorf("closed %d times", w.closed)
		}
		if err := testkit.Receive(t, ended); err == nil {
			t.Error("the client's handshake succeeded")
		}
	}
}
