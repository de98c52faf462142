package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

func TestReadWrite(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		if n, err := c.Read(nil); n != 0 || err != nil {
			return fmt.Errorf("Read of nothing = %d, %v", n, err)
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			return fmt.Errorf("Write of nothing = %d, %v", n, err)
		}
		if err := readAll(c, "ping"); err != nil {
			return err
		}
		if n, err := c.Write([]byte("pong")); n != 4 || err != nil {
			return fmt.Errorf("Write = %d, %v", n, err)
		}
		// What is there is read, and no more waited for.
		b := make([]byte, 100)
		n, err := c.Read(b)
		if string(b[:n]) != "short" || err != nil {
			return fmt.Errorf("Read = %q, %v", b[:n], err)
		}
		for range 2 { // the end stays the end
			if n, err := c.Read(b); n != 0 || err != io.EOF {
				return fmt.Errorf("Read at the end = %d, %v", n, err)
			}
		}
		_, err = io.WriteString(c, "bye")
		return err
	})
	send(t, c, "ping")
	testkit.WantRead(t, c, "pong")
	send(t, c, "short")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	testkit.WantRead(t, c, "bye")
	expectEOF(t, c)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// An end that arrives with the last bytes, or while they wait, is found after
// them.
func TestReadBytesThenEOF(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	for _, size := range []int{1, 3, 4096, 100_000} {
		proceed := make(chan bool)
		c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
			if err := readAll(c, "x"); err != nil {
				return err
			}
			j, _ := jobs.FromContext(ctx)
			go func() {
				<-proceed
				l.Wake(j)
			}()
			if err := j.Pause(); err != nil {
				return err
			}
			b, err := io.ReadAll(c)
			if len(b) != size || err != nil {
				return fmt.Errorf("read %d bytes, %v, want %d", len(b), err, size)
			}
			return nil
		})
		send(t, c, "x")
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		close(proceed)
		if err := testkit.Receive(t, done); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestReset(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		if err := readAll(c, "x"); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "read" || op.Net != "tcp" || op.Source == nil || op.Addr == nil {
			return fmt.Errorf("Read: %#v, want an OpError with addresses", err)
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("Read: %v, want %v", err, syscall.ECONNRESET)
		}
		_, err = c.Write([]byte("x"))
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("Write: %v", err)
		}
		return nil
	})
	send(t, c, "x")
	testkit.Reset(c)
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestHalfClose(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		if _, err := io.WriteString(c, "last"); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("Write after CloseWrite: %v", err)
		}
		return readAll(c, "still heard")
	})
	testkit.WantRead(t, c, "last")
	expectEOF(t, c)
	send(t, c, "still heard")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestCloseRead(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	reading := make(chan *loop.Conn, 1)
	_, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		reading <- c
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("Read = %d, %v, want EOF", n, err)
		}
		return nil
	})
	c := testkit.Receive(t, reading)
	looptest.Must(t, l, func(context.Context) error { return c.CloseRead() }) // while another job reads
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		if c.Loop() != l {
			return errors.New("Loop is another one")
		}
		_, err := fmt.Fprintf(c, "%v %v %s\n", c.LocalAddr(), c.RemoteAddr(), c.LocalAddr().Network())
		return err
	})
	testkit.WantRead(t, c, fmt.Sprintf("%v %v tcp\n", c.RemoteAddr(), c.LocalAddr()))
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}

	path := filepath.Join(t.TempDir(), "s")
	ln, err := l.Listen("unix", path, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := fmt.Fprintf(c, "%v %s %T\n", c.LocalAddr(), c.LocalAddr().Network(), c.RemoteAddr())
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	u := testkit.Dial(t, ln.Addr())
	testkit.WantRead(t, u, path+" unix *net.UnixAddr\n")
}

func TestAddressesIPv6(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	ln, err := l.Listen("tcp6", "[::1]:0", loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		_, err := fmt.Fprintf(c, "%v %v", c.LocalAddr(), c.RemoteAddr())
		return err
	}))
	if err != nil {
		t.Skip(err) // no IPv6 here
	}
	c := testkit.Dial(t, ln.Addr())
	testkit.WantRead(t, c, fmt.Sprintf("%v %v", c.RemoteAddr(), c.LocalAddr()))
}

// Several jobs may use one connection.
func TestSeveralReaders(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	got := make(chan string, 10)
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		read := func(context.Context) error {
			b := make([]byte, 1)
			_, err := io.ReadFull(c, b)
			got <- string(b)
			return err
		}
		for range 3 {
			if err := l.Go(read); err != nil {
				return err
			}
		}
		return read(nil)
	})
	looptest.Settle(t, l)
	seen := map[string]bool{}
	for _, s := range []string{"a", "b", "c"} {
		send(t, c, s)
		seen[testkit.Receive(t, got)] = true
	}
	send(t, c, "d")
	seen[testkit.Receive(t, got)] = true
	if len(seen) != 4 {
		t.Errorf("read %v, want all of a to d", seen)
	}
	testkit.Receive(t, done)
}

// In a job that must not pause, Read and Write block the thread.
func TestBlockPause(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	other := make(chan bool, 1)
	blocked := make(chan bool)
	c, done := pair(t, l, func(ctx context.Context, c *loop.Conn) error {
		j, _ := jobs.FromContext(ctx)
		j.BlockPause()
		l.Go(func(context.Context) error { other <- true; return nil })
		close(blocked)
		if err := readAll(c, "ping"); err != nil {
			return err
		}
		b := make([]byte, 8<<20)
		if _, err := c.Write(b); err != nil {
			return err
		}
		select {
		case <-other:
			return errors.New("another job ran while pausing was blocked")
		default:
		}
		j.UnblockPause()
		return readAll(c, "x")
	})
	testkit.Receive(t, blocked)
	send(t, c, "ping")
	if _, err := io.CopyN(io.Discard, c, 8<<20); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, other)
	send(t, c, "x")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}

// Functions that the loop calls use connections too, where they need not wait.
func TestWriteOutsideJob(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	ready := make(chan *loop.Conn, 1)
	c, done := pair(t, l, func(_ context.Context, c *loop.Conn) error {
		ready <- c
		return readAll(c, "x")
	})
	conn := testkit.Receive(t, ready)
	looptest.Call(t, l, func() {
		if _, err := io.WriteString(conn, "posted"); err != nil {
			t.Error(err)
		}
	})
	testkit.WantRead(t, c, "posted")
	send(t, c, "x")
	if err := testkit.Receive(t, done); err != nil {
		t.Error(err)
	}
}
