package gnetjobs_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// TestModes proves that each way gnet has of running its event loops serves,
// and ends with nothing left.
func TestModes(t *testing.T) {
	for _, mode := range []struct {
		name    string
		address func(t *testing.T) string // nil: a TCP port
		opts    []gnet.Option
	}{
		{"single loop", nil, nil},
		{"multicore", nil, []gnet.Option{gnet.WithMulticore(true)}},
		{"two loops", nil, []gnet.Option{gnet.WithNumEventLoop(2)}},
		{"two loops, least connections", nil, []gnet.Option{gnet.WithNumEventLoop(2), gnet.WithLoadBalancing(gnet.LeastConnections)}},
		{"reuse port", nil, []gnet.Option{gnet.WithReusePort(true)}},
		{"reuse port, two loops", reservedPort, []gnet.Option{gnet.WithReusePort(true), gnet.WithNumEventLoop(2)}},
		{"locked thread", nil, []gnet.Option{gnet.WithLockOSThread(true)}},
		{"locked threads, two loops", nil, []gnet.Option{gnet.WithLockOSThread(true), gnet.WithNumEventLoop(2)}},
		{"locked threads, reuse port", reservedPort, []gnet.Option{gnet.WithLockOSThread(true), gnet.WithReusePort(true), gnet.WithNumEventLoop(2)}},
		{"edge-triggered", nil, []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"edge-triggered, small chunk", nil, []gnet.Option{gnet.WithEdgeTriggeredIOChunk(1024)}},
		{"edge-triggered, two loops", nil, []gnet.Option{gnet.WithEdgeTriggeredIO(true), gnet.WithNumEventLoop(2), gnet.WithReadBufferCap(2048)}},
		{"Unix socket", unixPath, nil},
		{"Unix socket, edge-triggered", unixPath, []gnet.Option{gnet.WithEdgeTriggeredIO(true)}},
		{"small read buffer", nil, []gnet.Option{gnet.WithReadBufferCap(1)}},
		{"small write buffer", nil, []gnet.Option{gnet.WithWriteBufferCap(1), gnet.WithSocketSendBuffer(4096)}},
		{"ticker", nil, []gnet.Option{gnet.WithTicker(true)}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) {
				address := "tcp://127.0.0.1:0"
				if mode.address != nil {
					address = mode.address(t)
				}
				h := &handler{onTraffic: echo}
				s := serveAt(t, address, h, withTLS(gnetjobs.Options{}), mode.opts...)
				const clients = 4 // gnet deals them out to its loops
				results := make(chan error, clients)
				for i := range clients {
					go func() {
						results <- func() error {
							c, err := s.connectTLS(clientConfig(version))
							if err != nil {
								return err
							}
							defer c.Close()
							return transfer(c, rand.New(rand.NewPCG(uint64(i), uint64(version))), size(1<<20, 1<<18))
						}()
					}()
				}
				for range clients {
					if err := testkit.Receive(t, results); err != nil {
						t.Error(err)
					}
				}
				s.empty(t)
				if n := s.opened.Load(); n != clients {
					t.Errorf("OnOpen was called %d times, want %d", n, clients)
				}
			})
		})
	}
}

// size is a number of bytes, or less under the race detector or -short.
func size(normal, small int) int {
	if testkit.RaceEnabled || testing.Short() {
		return small
	}
	return normal
}

func unixPath(t *testing.T) string {
	// Not t.TempDir: a socket's name has 107 bytes at most.
	dir, err := os.MkdirTemp("", "gnetjobs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix://" + dir + "/socket"
}

// TestEngineStop proves that Stop, with connections open, in their handshake
// and in a job, ends all of them and leaves nothing.
func TestEngineStop(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			jobsBegun, jobsEnded := make(chan bool, 10), make(chan bool, 10)
			h := &handler{onTraffic: func(c gnet.Conn) gnet.Action {
				if err := gnetjobs.Job(c, func(nc net.Conn) error {
					jobsBegun <- true
					defer func() { jobsEnded <- true }()
					buf := make([]byte, 10)
					for {
						if _, err := nc.Read(buf); err != nil {
							return err
						}
					}
				}); err != nil {
					t.Errorf("Job: %v", err)
				}
				return gnet.None
			}}
			s := serve(t, h, withTLS(gnetjobs.Options{}), gnet.WithNumEventLoop(loops))
			for range 10 {
				s.dialTLS(t, clientConfig(0))
			}
			for range 10 {
				c := s.dialTLS(t, clientConfig(0))
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				testkit.Receive(t, jobsBegun)
			}
			for range 10 {
				s.dial(t) // says nothing
			}
			testkit.Eventually(t, "30 connections", func() bool { return s.connections() == 30 })
			if err := s.eng.Stop(t.Context()); err != nil {
				t.Errorf("Stop: %v", err)
			}
			s.stopped = true
			if err := testkit.Receive(t, s.ran); err != nil {
				t.Errorf("Run: %v", err)
			}
			s.ended(t)
			if n := s.opened.Load(); n != 20 {
				t.Errorf("OnOpen was called %d times, want 20", n)
			}
			if n := len(jobsEnded); n != 10 {
				t.Errorf("%d jobs ended, want 10", n)
			}
		})
	}
}
