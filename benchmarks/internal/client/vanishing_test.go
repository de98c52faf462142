//go:build linux

package client

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// A client gets as far as the moment without an error, in whichever way it leaves.
func TestVisits(t *testing.T) {
	_, target := answering(t)
	for _, m := range Moments {
		for w := range Ways {
			v := &Visit{Moment: m, Way: w, Rand: rand.New(rand.NewPCG(1, 2)), Target: target}
			if err := v.Run(t.Context()); err != nil {
				t.Errorf("%s, %v: %v", m.Name, w, err)
			}
			v.conn.Close()
		}
	}
	target.SHA256 = "00"
	v := &Visit{Moment: Moments[len(Moments)-1], Rand: rand.New(rand.NewPCG(1, 2)), Target: target}
	if err := v.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("of a wrong certificate: error %v", err)
	}
}

// A silent client hears when the server ends.
func TestAwaitEnd(t *testing.T) {
	s, target := answering(t)
	v := &Visit{Moment: Moments[2], Way: Silent, Rand: rand.New(rand.NewPCG(1, 2)), Target: target}
	if err := v.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- v.AwaitEnd() }()
	for { // the server may not have accepted the connection yet
		s.CloseClientConnections()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// A client must leave at the moment that is named, neither before nor after.
func TestMoments(t *testing.T) {
	for _, m := range Moments {
		var wrote []int
		read := 0
		c := newVanishing(&countingConn{wrote: &wrote, read: &read}, m, rand.New(rand.NewPCG(3, 4)))
		// The course of a TLS 1.3 connection.
		var err error
		for range 3 {
			if _, err = c.Write(make([]byte, 100)); err != nil {
				break
			}
			for range 5 { // more than serverFlight
				if _, err = c.Read(make([]byte, 200)); err != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		last := m.Name == "after the answer"
		if (err == errVanished) == last {
			t.Errorf("%s: ended with %v", m.Name, err)
		}
		whole, part := 0, false
		for _, n := range wrote {
			if n == 100 {
				whole++
			} else {
				part = true
			}
		}
		want := m.read
		if m.write > 0 {
			want = m.write - 1
		}
		if last {
			want = 3
		}
		if whole != want || part != (m.write > 0 && m.inside) {
			t.Errorf("%s: wrote %v, want %d times 100", m.Name, wrote, want)
		}
		if m.read == 1 && (read > 0) != m.inside {
			t.Errorf("%s: read %d bytes", m.Name, read)
		}
	}
}

type countingConn struct {
	net.Conn
	wrote *[]int
	read  *int
}

func (c *countingConn) Write(p []byte) (int, error) {
	*c.wrote = append(*c.wrote, len(p))
	return len(p), nil
}

func (c *countingConn) Read(p []byte) (int, error) {
	*c.read += len(p)
	return len(p), nil
}
