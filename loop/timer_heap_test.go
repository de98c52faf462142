package loop

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

type noExpiry struct{}

func (noExpiry) expire(int64) {}

// Whatever is set, moved and stopped: the heap stays in order, and its timers
// know their places.
func TestTimerHeap(t *testing.T) {
	l := &Loop{}
	timers := make([]timer, 200)
	for range 20_000 {
		tm := &timers[rand.IntN(len(timers))]
		tm.owner = noExpiry{}
		if rand.IntN(3) == 0 {
			l.stopTimer(tm)
		} else {
			l.setTimer(tm, rand.Int64N(1000))
		}
		if len(l.timers) > 0 && rand.IntN(10) == 0 {
			heap.Pop(&l.timers)
		}
		pending := 0
		for i := range timers {
			if timers[i].index != 0 {
				pending++
			}
		}
		if pending != len(l.timers) {
			t.Fatalf("%d timers think they are in a heap of %d", pending, len(l.timers))
		}
		for i, tm := range l.timers {
			if tm.index != i+1 {
				t.Fatalf("the timer at %d thinks it is at %d", i, tm.index-1)
			}
			if i > 0 && tm.when < l.timers[(i-1)/2].when {
				t.Fatalf("the timer at %d is earlier than its parent", i)
			}
		}
	}
}

// A server sets a deadline before each read. That must not cost a timer each
// time, nor leave any.
func TestDeadlinesDoNotGrowHeap(t *testing.T) {
	l := newStopped(t)
	const n = 10_000
	done := make(chan error, 1)
	ln, err := l.Listen("tcp", "127.0.0.1:0", HandlerFunc(func(ctx context.Context, c *Conn) (err error) {
		defer func() { done <- err }()
		for b := make([]byte, 1); err == nil; {
			for range n / 100 { // before each of 100 reads
				c.SetReadDeadline(time.Now().Add(time.Hour))
				c.SetWriteDeadline(time.Now().Add(2 * time.Hour))
				c.SetReadDeadline(time.Time{})
			}
			if len(l.timers) > 1 {
				return errors.New("one connection has several timers")
			}
			if _, err = c.Read(b); err == nil {
				_, err = c.Write(b)
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- l.Run(context.Background()) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	for range 100 {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	left := make(chan int)
	if err := l.Post(func() { left <- len(l.timers) }); err != nil {
		t.Fatal(err)
	}
	if n := <-left; n > 0 { // closed, it has given its timer back
		t.Errorf("%d timers are left", n)
	}
	l.Close()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
