package loop

import (
	"context"
	"net"
	"testing"
	"time"
)

// The last room of a group may be taken between a listener's look for it and
// the accept: by a job of Go's on another loop, say. The connection is served
// all the same.
func TestDealWithoutRoom(t *testing.T) {
	l := newStopped(t)
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan bool, 1)
	_, err = l.adopt(opened{ln: given}, HandlerFunc(func(context.Context, *Conn) error {
		served <- true
		return nil
	}), func() *Loop {
		if l.counts.Accepted > 0 { // which is counted first
			return nil
		}
		return l
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", given.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	select {
	case <-served:
	case <-time.After(20 * time.Second):
		t.Error("not served")
	}
	l.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
