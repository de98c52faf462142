package loop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// transfer writes n random bytes in random pieces, reads what the other end
// writes in the same way, and ends with the two checksums. The directions are
// up to start: two goroutines, or two jobs.
type transfer struct {
	n              int64
	sent, received [sha256.Size]byte
}

func (x *transfer) write(c interface {
	io.Writer
	CloseWrite() error
}, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 0))
	src := rand.NewChaCha8([32]byte{byte(seed)})
	sum := sha256.New()
	b := make([]byte, 100_000)
	for left := x.n; left > 0; {
		k := min(left, 1+r.Int64N(int64(len(b))))
		src.Read(b[:k])
		sum.Write(b[:k])
		n, err := c.Write(b[:k])
		if err != nil || int64(n) != k {
			return fmt.Errorf("Write = %d, %v", n, err)
		}
		left -= k
	}
	sum.Sum(x.sent[:0])
	return c.CloseWrite()
}

func (x *transfer) read(c io.Reader, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	sum := sha256.New()
	b := make([]byte, 100_000)
	for total := int64(0); ; {
		n, err := c.Read(b[:1+r.IntN(len(b))])
		sum.Write(b[:n])
		total += int64(n)
		if err == io.EOF {
			sum.Sum(x.received[:0])
			if total != x.n {
				return fmt.Errorf("read %d bytes, want %d", total, x.n)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Several connections, each with one job that reads and another that writes.
func TestTransfer(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			l := looptest.New(t, loop.Config{})
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			const conns = 4
			const size = 3 << 20 // each way
			var mu sync.Mutex
			results := map[string]*transfer{}
			served := make(chan error, 2*conns)
			var seed uint64
			ln, err := l.Listen(network, address, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
				b := make([]byte, 1)
				if _, err := io.ReadFull(c, b); err != nil {
					return err
				}
				x := &transfer{n: size}
				mu.Lock()
				results[string(b)] = x
				mu.Unlock()
				seed++
				wseed := seed + 100
				written := make(chan error, 1)
				l.Go(func(context.Context) error {
					err := x.write(c, wseed)
					served <- err
					written <- err
					return err
				})
				err := x.read(c, seed)
				served <- err
				for len(written) == 0 { // the connection ends with this job
					if err := loop.Sleep(ctx, 1000); err != nil {
						return err
					}
				}
				return err
			}))
			if err != nil {
				t.Fatal(err)
			}
			clients := map[string]*transfer{}
			var wg sync.WaitGroup
			for i := range conns {
				name := string(rune('a' + i))
				x := &transfer{n: size}
				clients[name] = x
				c := testkit.Dial(t, ln.Addr())
				send(t, c, name)
				half := c.(interface {
					net.Conn
					CloseWrite() error
				})
				wg.Go(func() {
					if err := x.write(half, uint64(i)); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					if err := x.read(half, uint64(i)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for range 2 * conns {
				if err := testkit.Receive(t, served); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for name, c := range clients {
				s := results[name]
				if s == nil || !bytes.Equal(c.sent[:], s.received[:]) || !bytes.Equal(s.sent[:], c.received[:]) {
					t.Errorf("connection %s: the bytes are not those that were sent", name)
				}
			}
		})
	}
}
