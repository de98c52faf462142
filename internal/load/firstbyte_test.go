package load

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jobloop/jobloop/internal/testkit"
)

func TestFirstByteReadsAll(t *testing.T) {
	const text = "HTTP/1.1 200 OK"
	for _, waits := range []bool{false, true} {
		f := &firstByte{r: iotest.HalfReader(strings.NewReader(text))}
		if waits {
			if err := f.wait(); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := f.Read(nil); n != 0 || err != nil {
			t.Errorf("a read of no bytes: %d, %v", n, err)
		}
		if err := iotest.TestReader(f, []byte(text)); err != nil {
			t.Errorf("waits %t: %v", waits, err)
		}
	}
	if err := (&firstByte{r: strings.NewReader("")}).wait(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

// beforeRead is a connection that calls a function before each Read.
type beforeRead struct {
	net.Conn
	f func()
}

func (c beforeRead) Read(p []byte) (int, error) {
	c.f()
	return c.Conn.Read(p)
}

// A client that waits for its answer has no buffer for it yet.
func TestWaitingNeedsNoBuffer(t *testing.T) {
	testkit.CheckLeaks(t)
	client, remote := net.Pipe()
	defer client.Close()
	go func() {
		defer remote.Close()
		c := tls.Server(remote, &tls.Config{Certificates: []tls.Certificate{serverCert()}, SessionTicketsDisabled: true})
		readRequest(c) // after the handshake
		io.WriteString(c, okAnswer)
	}()
	w := &worker{readers: []*answerReader{newAnswerReader()}}
	var free []int // buffers at each read
	c := tls.Client(beforeRead{client, func() { free = append(free, len(w.readers)) }}, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	free = nil
	v := &visit{target: &target{request: requestText("/", "localhost", "443", true)}}
	asking := &conn{w: w, v: v, tls: c}
	if err := asking.ask(); err != nil {
		t.Fatal(err)
	}
	if err := asking.answer(); err != nil {
		t.Fatal(err)
	}
	if len(free) == 0 || free[0] != 1 || len(w.readers) != 1 {
		t.Errorf("%v buffers were free at each read, and %d at the end", free, len(w.readers))
	}
}
