package multibuffer

import (
	"context"
	"crypto"
	"runtime"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// Many requests at a time leave no more memory behind than a few.
func TestMemoryIsBounded(t *testing.T) {
	e := newEngine(t, Config{})
	e.do = instantly
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	mustAll(t, together(t, l, 2000, func(ctx context.Context, _ int) error {
		_, err := k.ForContext(ctx).Sign(nil, digest, crypto.SHA256)
		return err
	}))
	wantSizes(t, e, map[int]uint64{8: 250})
	wantIdle(t, e, l)
	looptest.Call(t, l, func() {
		if b := batcherIn(e, l); b.free.n != maxFree || cap(b.settled) > 1024 {
			t.Errorf("%d free requests, room for %d settled ones", b.free.n, cap(b.settled))
		}
	})
}

// instantly takes the place of Do where results do not matter.
func instantly(_ *rsax8.Unit, reqs []*rsax8.Request) {
	for _, r := range reqs {
		r.OK = true
	}
}

// A signature allocates itself, and nothing else.
func TestAllocations(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	e := newEngine(t, Config{})
	e.do = instantly
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	calls := uint64(0)
	looptest.Must(t, l, func(ctx context.Context) error {
		handshake, cancel := context.WithCancel(ctx) // as crypto/tls makes one
		defer cancel()
		for name, ctx := range map[string]context.Context{"the job's": ctx, "a handshake's": handshake} {
			bound := k.ForContext(ctx)
			if n := testkit.AllocsPerRun(200, func() {
				calls++
				if _, err := bound.Sign(nil, digest, crypto.SHA256); err != nil {
					t.Fatal(err)
				}
			}); n > 1 {
				t.Errorf("Sign allocates %v times with %s context", n, name)
			}
		}
		if n := testkit.AllocsPerRun(200, func() { runtime.KeepAlive(k.ForContext(ctx)) }); n > 1 {
			t.Errorf("ForContext allocates %v times", n)
		}
		return nil
	})
	if s := e.Stats(); s.Operations != calls {
		t.Errorf("%+v, want %d operations", s, calls)
	}
}
