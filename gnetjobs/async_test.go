package gnetjobs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// TestAsyncWrite has many goroutines write to one connection. Each one's
// messages arrive in its order, and each callback is called once, on the event
// loop.
func TestAsyncWrite(t *testing.T) {
	const writers, messages = 8, 200
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		var loop string
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
			loop = goroutineID()
			conns <- c
			return nil, gnet.None
		}}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)

		var called [writers]int // of the event loop's goroutine: the race detector sees any other
		all := make(chan bool)
		total := 0
		callback := func(w int) gnet.AsyncCallback {
			return func(cb gnet.Conn, err error) error {
				if err != nil || cb != c {
					t.Errorf("callback: connection %p, want %p; error %v", cb, c, err)
				}
				if id := goroutineID(); id != loop {
					t.Errorf("callback on goroutine %s, the loop is %s", id, loop)
				}
				called[w]++
				if total++; total == writers*messages {
					close(all)
				}
				return nil
			}
		}
		results := make(chan error, writers)
		for w := range writers {
			go func() {
				results <- func() error {
					for m := range messages {
						message := []byte(fmt.Sprintf("%d %d %s\n", w, m, strings.Repeat("x", w*m%3000)))
						var err error
						if m%2 == 0 {
							err = c.AsyncWrite(message, callback(w))
						} else {
							half := len(message) / 2
							err = c.AsyncWritev([][]byte{message[:half], {}, message[half:]}, callback(w))
						}
						if err != nil {
							return err
						}
					}
					return nil
				}()
			}()
		}
		var next [writers]int
		var line []byte
		buf := make([]byte, 10_000)
		for read := 0; read < writers*messages; {
			n, err := client.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			line = append(line, buf[:n]...)
			for {
				head, rest, ok := bytes.Cut(line, []byte("\n"))
				if !ok {
					break
				}
				var w, m int
				if _, err := fmt.Sscanf(string(head), "%d %d", &w, &m); err != nil {
					t.Fatalf("read %.50q: %v", head, err)
				}
				if m != next[w] {
					t.Fatalf("goroutine %d's message %d came where %d should", w, m, next[w])
				}
				if want := fmt.Sprintf("%d %d %s", w, m, strings.Repeat("x", w*m%3000)); string(head) != want {
					t.Fatalf("goroutine %d's message %d is %.100q", w, m, head)
				}
				next[w]++
				read++
				line = rest
			}
		}
		for range writers {
			if err := testkit.Receive(t, results); err != nil {
				t.Error(err)
			}
		}
		testkit.Receive(t, all)
		for w, n := range called {
			if n != messages {
				t.Errorf("goroutine %d's callbacks were called %d times", w, n)
			}
		}
	})
}

// TestAsyncWriteWithoutCallback proves that a callback is not needed.
func TestAsyncWriteWithoutCallback(t *testing.T) {
	conns := make(chan gnet.Conn, 1)
	s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None }},
		withTLS(gnetjobs.Options{}))
	client := s.dialTLS(t, clientConfig(0))
	c := testkit.Receive(t, conns)
	if err := errors.Join(c.AsyncWrite([]byte("one "), nil), c.AsyncWritev([][]byte{[]byte("two "), []byte("three")}, nil)); err != nil {
		t.Fatal(err)
	}
	testkit.WantRead(t, client, "one two three")
}

// TestAsyncWriteThenClose proves that a Close does not overtake the writes that
// the same goroutine has asked for before.
func TestAsyncWriteThenClose(t *testing.T) {
	message := pattern(1 << 20)
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		conns := make(chan gnet.Conn, 1)
		s := serve(t, &handler{onOpen: func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None }}, wrap)
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		if err := errors.Join(c.AsyncWrite(message, nil), c.AsyncWrite([]byte("end"), nil), c.Close()); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(client)
		if len(got) != len(message)+3 || !bytes.HasPrefix(got, message) || err != nil {
			t.Errorf("read %d bytes, want %d; %v", len(got), len(message)+3, err)
		}
	})
}

// TestAfterClose compares what the methods that any goroutine may call answer
// on a closed connection with what gnet's own do.
func TestAfterClose(t *testing.T) {
	answers := func(t *testing.T, others int, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) []string {
		conns, closed := make(chan gnet.Conn, 1), make(chan bool, 2)
		s := serve(t, &handler{
			onOpen:  func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
			onClose: func(gnet.Conn, error) gnet.Action { closed <- true; return gnet.None },
		}, wrap)
		for range others {
			dial(t, s)
			testkit.Receive(t, conns)
		}
		client := dial(t, s)
		c := testkit.Receive(t, conns)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, closed)
		if _, err := io.Copy(io.Discard, client); err != nil {
			t.Error(err)
		}
		called := make(chan error, 1)
		callback := func(_ gnet.Conn, err error) error { called <- err; return nil }
		var got []string
		for _, op := range []struct {
			name string
			do   func() error
		}{
			{"AsyncWrite", func() error { return c.AsyncWrite([]byte("x"), callback) }},
			{"AsyncWritev", func() error { return c.AsyncWritev([][]byte{[]byte("x")}, callback) }},
			{"Wake", func() error { return c.Wake(callback) }},
			{"CloseWithCallback", func() error { return c.CloseWithCallback(callback) }},
		} {
			err := op.do()
			got = append(got, fmt.Sprintf("%s: %v, callback: %v", op.name, err, testkit.Receive(t, called)))
		}
		got = append(got, fmt.Sprintf("Close: %v", c.Close()))
		return got
	}
	for others := range 2 {
		t.Run(fmt.Sprintf("%d others open", others), func(t *testing.T) {
			var want []string
			t.Run("gnet", func(t *testing.T) { want = answers(t, others, plain, dialPlain) })
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				for i, got := range answers(t, others, wrap, dial) {
					if got != want[i] {
						t.Errorf("%s; gnet: %s", got, want[i])
					}
				}
			})
		})
	}
}
