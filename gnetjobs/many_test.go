package gnetjobs_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// Nothing here is about how long a handshake takes, and a thousand of them at
// the same time take their time.
var patient = gnetjobs.Options{HandshakeTimeout: testkit.Patience}

// TestManyOpen has a thousand connections open at the same time, which all
// echo.
func TestManyOpen(t *testing.T) {
	const clients = 1000
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			s := serve(t, &handler{onTraffic: echo}, withTLS(patient), gnet.WithNumEventLoop(loops))
			var open sync.WaitGroup
			open.Add(clients)
			results := make(chan error, clients)
			atOnce := make(chan bool, 50) // more clients at a time would time out under the race detector
			for i := range clients {
				go func() {
					atOnce <- true
					c, err := s.connectTLS(clientConfig(0))
					<-atOnce
					open.Done()
					if err != nil {
						results <- err
						return
					}
					defer c.Close()
					open.Wait()
					results <- exchangeSome(c, uint64(i))
				}()
			}
			open.Wait()
			testkit.Eventually(t, "a thousand connections", func() bool { return s.opened.Load() == clients })
			for range clients {
				if err := testkit.Receive(t, results); err != nil {
					t.Fatal(err)
				}
			}
			s.empty(t)
		})
	}
}

// TestManyComing has a thousand clients at the same time, each of which
// connects, echoes and leaves as soon as it can.
func TestManyComing(t *testing.T) {
	const clients = 1000
	var handshakes handshakeLog
	opts := patient
	opts.OnHandshake = handshakes.add
	s := serve(t, &handler{onTraffic: echo}, withTLS(opts), gnet.WithNumEventLoop(2))
	results := make(chan error, clients)
	for i := range clients {
		go func() {
			results <- func() error {
				c, err := s.connectTLS(clientConfig(versions[i%len(versions)]))
				if err != nil {
					return err
				}
				defer c.Close()
				return exchangeSome(c, uint64(i))
			}()
		}()
	}
	for range clients {
		if err := testkit.Receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	s.empty(t)
	if good, bad := handshakes.count(); good != clients || bad != 0 || s.opened.Load() != clients {
		t.Errorf("%d handshakes and %d calls of OnOpen, want %d; %d handshakes failed", good, s.opened.Load(), clients, bad)
	}
}

// exchangeSome echoes several messages.
func exchangeSome(c io.ReadWriter, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 5))
	for i := range 3 {
		message := strings.Repeat(fmt.Sprintf("%d.%d ", seed, i), 1+rnd.IntN(500))
		if err := exchange(c, message); err != nil {
			return err
		}
	}
	return nil
}
