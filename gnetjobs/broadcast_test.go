package gnetjobs_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// room sends what one connection says to all. Its fields are the event loop's.
type room struct {
	members map[gnet.Conn]bool
	failed  int
}

func (r *room) say(p []byte) {
	for c := range r.members {
		if _, err := c.Write(p); err != nil {
			r.failed++
		}
	}
}

// TestBroadcast has connections write to each other, from events and from jobs,
// while some of their clients vanish: then gnet closes a connection, and
// OnClose is called, inside another one's Write.
func TestBroadcast(t *testing.T) {
	for _, speak := range []string{"events", "jobs"} {
		t.Run(speak, func(t *testing.T) {
			eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
				r := &room{members: make(map[gnet.Conn]bool)}
				h := &handler{
					onOpen: func(c gnet.Conn) ([]byte, gnet.Action) {
						r.members[c] = true
						if speak == "jobs" {
							if err := gnetjobs.Job(c, func(nc net.Conn) error {
								in := bufio.NewReader(nc)
								for {
									line, err := in.ReadString('\n')
									if err != nil {
										return err
									}
									r.say([]byte(line))
								}
							}); err != nil {
								t.Errorf("Job: %v", err)
							}
						}
						return []byte("welcome"), gnet.None
					},
					onTraffic: func(c gnet.Conn) gnet.Action {
						b, _ := c.Next(-1)
						r.say(append([]byte(nil), b...))
						return gnet.None
					},
					onClose: func(c gnet.Conn, _ error) gnet.Action {
						if !r.members[c] {
							t.Error("OnClose for a connection that is not open")
						}
						delete(r.members, c)
						return gnet.None
					},
				}
				s := serve(t, h, wrap)
				join := func() net.Conn {
					c := dial(t, s)
					testkit.WantRead(t, c, "welcome")
					return c
				}
				speaker, listener := join(), join()
				rnd := rand.New(rand.NewPCG(14, 1))
				lines := bufio.NewReader(listener)
				own := bufio.NewReader(speaker)
				padding := strings.Repeat("x", 20_000)
				for i := range 40 {
					var leaving []net.Conn
					for range 4 {
						leaving = append(leaving, join())
					}
					for _, c := range leaving {
						if rnd.IntN(2) == 0 {
							// They have unread bytes, or will have: the server gets a RST.
							if tc, ok := c.(interface{ NetConn() net.Conn }); ok {
								c = tc.NetConn()
							}
							testkit.Reset(c)
						}
					}
					line := fmt.Sprintf("%d %s\n", i, padding)
					if _, err := io.WriteString(speaker, line); err != nil {
						t.Fatal(err)
					}
					for _, in := range []*bufio.Reader{lines, own} {
						if got, err := in.ReadString('\n'); got != line || err != nil {
							t.Fatalf("line %d: read %d bytes, %v", i, len(got), err)
						}
					}
					for _, c := range leaving {
						c.Close()
					}
				}
				testkit.Eventually(t, "two connections", func() bool { return s.connections() == 2 })
			})
		})
	}
}
