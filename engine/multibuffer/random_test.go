package multibuffer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Everything at a time: keys of all sizes, batches of all lengths, clients that
// vanish, spurious resumes. What is signed verifies, what is not was cancelled,
// and in the end nothing is left.
func TestRandom(t *testing.T) {
	bothModes(t, func(t *testing.T, cfg Config) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { testRandom(t, cfg, rand.New(rand.NewPCG(seed, 0))) })
		}
	})
}

func testRandom(t *testing.T, cfg Config, rnd *rand.Rand) {
	cfg.MinBatch = 1 + rnd.IntN(3)
	e := newEngine(t, cfg)
	l := looptest.New(t, loop.Config{})
	var keys []*Key
	for _, name := range []string{"2048a", "2048b", "2048a", "3072"} {
		keys = append(keys, newKey(t, e, name))
	}
	const clients, rounds = 40, 6
	var paused []jobs.Job // or ended: the loop's
	var all []<-chan error
	for range clients {
		key := keys[rnd.IntN(len(keys))]
		begun := make(chan bool, 1)
		c, done := client(t, l, func(ctx context.Context) error {
			begun <- true
			j, _ := jobs.FromContext(ctx)
			paused = append(paused, j)
			for range rounds {
				if err := signs(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})
		all = append(all, done)
		if rnd.IntN(4) == 0 {
			looptest.Call(t, l, func() {
				for range 3 {
					if len(paused) > 0 {
						l.Ready(paused[len(paused)/2])
					}
				}
			})
		}
		if rnd.IntN(6) == 0 {
			testkit.Receive(t, begun) // or it would not be served at all
			testkit.Reset(c)
		}
	}
	signed := 0
	for i, done := range all {
		switch err := testkit.Receive(t, done); {
		case err == nil:
			signed++
		case !errors.Is(err, jobs.ErrCanceled):
			t.Errorf("client %d: %v", i, err)
		}
	}
	looptest.Settle(t, l)
	testkit.Eventually(t, "the worker's last batch is back", func() (idle bool) {
		looptest.Call(t, l, func() { b := batcherIn(e, l); idle = len(b.batch.reqs) == 0 && b.waiting == 0 })
		return idle
	})
	wantIdle(t, e, l)
	s := e.Stats()
	sum := uint64(0)
	for n, batches := range s.BatchSizes {
		sum += uint64(n) * batches
		if batches > 0 && n < cfg.MinBatch {
			t.Errorf("a batch of %d, at least %d", n, cfg.MinBatch)
		}
	}
	if sum != s.Operations+s.Fallbacks || s.Fallbacks != 0 || s.Direct != 0 {
		t.Errorf("the counts do not fit together: %+v", s)
	}
	if made := s.Operations + s.Alone; made < uint64(signed*rounds) {
		t.Errorf("%d signatures for %d clients of %d: %+v", made, signed, rounds, s)
	}
	t.Logf("%d clients, %d of them served: %+v", clients, signed, s)
}
