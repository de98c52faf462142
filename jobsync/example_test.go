package jobsync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/jobloop/jobloop/jobsync"
	"github.com/jobloop/jobloop/loop"
)

// Two jobs of a handler work together, and one waits for both.
func ExampleGroup() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		c := jobsync.NewChan[string](1)
		var g jobsync.Group
		g.Go(ctx, func(ctx context.Context) error {
			defer c.Close()
			for _, s := range []string{"one", "two"} {
				if err := c.Send(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		g.Go(ctx, func(ctx context.Context) error {
			for {
				s, err := c.Receive(ctx)
				if errors.Is(err, jobsync.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
				fmt.Println(s)
			}
		})
		return g.Wait(ctx)
	})
	l.Run(context.Background())
	// Output:
	// one
	// two
}

// A lock that is held over a pause.
func ExampleMutex() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		var m jobsync.Mutex
		if err := m.Lock(ctx); err != nil {
			return err
		}
		var g jobsync.Group
		g.Go(ctx, func(ctx context.Context) error {
			if err := m.Lock(ctx); err != nil {
				return err
			}
			defer m.Unlock()
			fmt.Println("second")
			return nil
		})
		if err := loop.Sleep(ctx, time.Millisecond); err != nil { // with the lock held
			return err
		}
		fmt.Println("first")
		m.Unlock()
		return g.Wait(ctx)
	})
	l.Run(context.Background())
	// Output:
	// first
	// second
}

// A channel has a fixed size, and pauses who sends too fast.
func ExampleChan() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		c := jobsync.NewChan[int](1)
		if err := c.Send(ctx, 42); err != nil {
			return err
		}
		n, err := c.Receive(ctx)
		fmt.Println(n)
		return err
	})
	l.Run(context.Background())
	// Output: 42
}
