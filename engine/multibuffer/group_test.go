package multibuffer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer/internal/rsax8"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// holder stops an Engine's computations until the test lets them go on.
type holder struct {
	entered chan int // the number of requests
	goOn    chan struct{}
}

func (e *Engine) holdAt(g *holder) {
	do := e.do
	e.do = func(u *rsax8.Unit, reqs []*rsax8.Request) {
		g.entered <- len(reqs)
		<-g.goOn
		do(u, reqs)
	}
}

func newHolder() *holder { return &holder{make(chan int), make(chan struct{})} }

// waiting returns how many goroutines' requests wait.
func (e *Engine) waiting() (n int) {
	e.group.mu.Lock()
	defer e.group.mu.Unlock()
	for i := range e.group.queues {
		n += e.group.queues[i].n
	}
	return n
}

// wantGroupIdle checks that nothing is left of goroutines' requests but wiped
// memory.
func wantGroupIdle(t testing.TB, e *Engine) {
	t.Helper()
	g := &e.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leaders != 0 || g.gathering != nil || g.oldest() != nil {
		t.Errorf("%d leaders, gathering %t, waiting %t", g.leaders, g.gathering != nil, g.oldest() != nil)
	}
	if n := runtime.GOMAXPROCS(0); len(g.batches) > n {
		t.Errorf("%d batches are kept for %d processors", len(g.batches), n)
	}
	for r := g.free.top; r != nil; r = r.next {
		clean := request{woken: r.woken, next: r.next}
		if !sameRequest(r, &clean) {
			t.Error("a request was not wiped")
		}
	}
	for _, b := range g.batches {
		if len(b.reqs) != 0 || b.failure != nil {
			t.Errorf("a batch of %d requests is left, failure %v", len(b.reqs), b.failure)
		}
	}
}

// spawnSigns signs on goroutines of their own, and returns their errors.
func spawnSigns(k *Key, n int) <-chan error {
	done := make(chan error, n)
	for range n {
		go func() { done <- signs(context.Background(), k) }()
	}
	return done
}

func wantAll(t testing.TB, done <-chan error) {
	t.Helper()
	for range cap(done) {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}

// A goroutine that signs alone waits for nobody, and nothing is left behind.
func TestGoroutineAlone(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	for range 3 {
		if err := signs(context.Background(), k); err != nil {
			t.Error(err)
		}
	}
	wantSizes(t, e, map[int]uint64{1: 3})
	wantGroupIdle(t, e)
}

// Goroutines that come while others are computed are computed together afterwards,
// those that fill the lanes first.
func TestGoroutinesGather(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, tt := range []struct {
		n    int
		want map[int]uint64
	}{
		{1, map[int]uint64{1: 2}},
		{4, map[int]uint64{1: 1, 4: 1}},
		{6, map[int]uint64{1: 1, 4: 1, 2: 1}},
		{7, map[int]uint64{1: 1, 4: 1, 3: 1}},
	} {
		e := newEngine(t, Config{})
		k := newKey(t, e, "2048a")
		g := newHolder()
		e.holdAt(g)
		first := spawnSigns(k, 1)
		if n := testkit.Receive(t, g.entered); n != 1 {
			t.Errorf("the first batch has %d", n)
		}
		rest := spawnSigns(k, tt.n)
		testkit.Eventually(t, fmt.Sprintf("%d requests wait", tt.n), func() bool { return e.waiting() == tt.n })
		go func() {
			for range g.entered {
			}
		}()
		close(g.goOn)
		wantAll(t, first)
		wantAll(t, rest)
		close(g.entered)
		wantSizes(t, e, tt.want)
		wantGroupIdle(t, e)
	}
}

// Eight need not wait for a leader that computes, if there is a processor for
// them.
func TestFullBatchOfGoroutinesHasItsOwnLeader(t *testing.T) {
	testkit.CheckLeaks(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	g := newHolder()
	e.holdAt(g)
	first := spawnSigns(k, 1)
	testkit.Receive(t, g.entered)
	rest := spawnSigns(k, 8)
	if n := testkit.Receive(t, g.entered); n != 8 { // while the first is still computed
		t.Errorf("the second batch has %d", n)
	}
	more := spawnSigns(k, 8)
	testkit.Eventually(t, "8 requests wait", func() bool { return e.waiting() == 8 }) // both processors are taken
	go func() { testkit.Receive(t, g.entered) }()
	close(g.goOn)
	wantAll(t, first)
	wantAll(t, rest)
	wantAll(t, more)
	wantSizes(t, e, map[int]uint64{1: 1, 8: 2})
	wantGroupIdle(t, e)
}

// Eight of one size do not wait behind fewer of another size that came before them.
func TestFullBatchBehindAnotherSize(t *testing.T) {
	testkit.CheckLeaks(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	e := newEngine(t, Config{}) // its clock stands still, so that nobody is late
	small, large := newKey(t, e, "2048a"), newKey(t, e, "3072")
	g := newHolder()
	e.holdAt(g)
	first := spawnSigns(small, 1)
	testkit.Receive(t, g.entered)
	before := spawnSigns(large, 1)
	testkit.Eventually(t, "a request waits", func() bool { return e.waiting() == 1 })
	rest := spawnSigns(small, 8)
	if n := testkit.Receive(t, g.entered); n != 8 { // while the first is still computed
		t.Errorf("the second batch has %d", n)
	}
	more := spawnSigns(small, 8) // both processors are taken
	testkit.Eventually(t, "9 requests wait", func() bool { return e.waiting() == 9 })
	g.goOn <- struct{}{} // one of them is free
	if n := testkit.Receive(t, g.entered); n != 8 {
		t.Errorf("the third batch has %d", n)
	}
	go func() { testkit.Receive(t, g.entered) }()
	close(g.goOn)
	wantAll(t, first)
	wantAll(t, before)
	wantAll(t, rest)
	wantAll(t, more)
	wantSizes(t, e, map[int]uint64{1: 2, 8: 2})
	wantGroupIdle(t, e)
}

// A key that signs in a job without being bound leads nobody: goroutines do not wait for
// it.
func TestUnboundKeepsNobodyWaiting(t *testing.T) {
	testkit.CheckLeaks(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	g := newHolder()
	e.holdAt(g)
	l := looptest.New(t, loop.Config{Logger: slog.New(slog.DiscardHandler)})
	unbound := looptest.Spawn(t, l, func(context.Context) error { return signs(context.Background(), k) })
	testkit.Receive(t, g.entered) // it holds the loop's thread
	other := spawnSigns(k, 1)
	testkit.Receive(t, g.entered)
	close(g.goOn)
	wantAll(t, other)
	if err := testkit.Receive(t, unbound); err != nil {
		t.Error(err)
	}
	wantGroupIdle(t, e)
}

// Nor does a late one wait for as long as there are eight of another size.
func TestLateBeforeFullBatch(t *testing.T) {
	testkit.CheckLeaks(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := newEngine(t, Config{})
	var clock atomic.Int64
	e.now = func() time.Duration { return time.Duration(clock.Load()) }
	small, large := newKey(t, e, "2048a"), newKey(t, e, "3072")
	var sizes []int
	g := newHolder()
	e.holdAt(g)
	first := spawnSigns(small, 1)
	testkit.Receive(t, g.entered)
	late := spawnSigns(large, 1)
	testkit.Eventually(t, "a request waits", func() bool { return e.waiting() == 1 })
	clock.Add(int64(maxLead))
	rest := spawnSigns(small, 8)
	testkit.Eventually(t, "9 requests wait", func() bool { return e.waiting() == 9 })
	close(g.goOn)
	for range 2 {
		sizes = append(sizes, testkit.Receive(t, g.entered))
	}
	if !slices.Equal(sizes, []int{1, 8}) {
		t.Errorf("batches of %v, want the late one first", sizes)
	}
	wantAll(t, first)
	wantAll(t, late)
	wantAll(t, rest)
	wantGroupIdle(t, e)
}

// A leader that yields and does not get its processor back delays nobody for long:
// another takes over, and the leader finds its own request computed.
func TestLeadIsTakenOver(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	var mu sync.Mutex
	var now time.Duration
	e.now = func() time.Duration { mu.Lock(); defer mu.Unlock(); return now }
	yielded, back := make(chan struct{}), make(chan struct{})
	e.yield = func() { yielded <- struct{}{}; <-back }
	first := spawnSigns(k, 1)
	testkit.Receive(t, yielded)
	joined := spawnSigns(k, 1)
	testkit.Eventually(t, "both wait", func() bool { return e.waiting() == 2 })
	mu.Lock()
	now = maxLead
	mu.Unlock()
	wantAll(t, spawnSigns(k, 1)) // does not yield
	wantAll(t, joined)
	wantSizes(t, e, map[int]uint64{3: 1})
	go func() {
		for range yielded {
		}
	}()
	close(back)
	wantAll(t, first)
	close(yielded)
	wantSizes(t, e, map[int]uint64{3: 1})
	wantGroupIdle(t, e)
}

// When yielding takes long and brings nobody, it is left out for a while.
func TestNobodyYieldsToOtherWork(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	var now time.Duration
	e.now = func() time.Duration { return now }
	signature := 0
	var yielded []int
	e.yield = func() { yielded = append(yielded, signature); now += maxLead }
	for signature = range hurried + 2 {
		if err := signs(context.Background(), k); err != nil {
			t.Fatal(err)
		}
	}
	var want []int
	for _, n := range []int{0, hurried + 1} {
		for range yields {
			want = append(want, n)
		}
	}
	if !slices.Equal(yielded, want) {
		t.Errorf("signatures %v yielded, want %v", yielded, want)
	}
	wantGroupIdle(t, e)
}

// A leader that ends in OnBatch, by a panic or by Goexit, loses nobody.
func TestLeaderEnds(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("enough") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			var once sync.Once
			e := newEngine(t, Config{OnBatch: func(b Batch) {
				if b.Requests == 1 { // the leader's own; others may be told of theirs before
					once.Do(end)
				}
			}})
			k := newKey(t, e, "2048a")
			g := newHolder()
			e.holdAt(g)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer func() { recover() }()
				signs(context.Background(), k)
				t.Error("the leader did not end")
			}()
			testkit.Receive(t, g.entered)
			rest := spawnSigns(k, 7)
			testkit.Eventually(t, "7 requests wait", func() bool { return e.waiting() == 7 })
			go func() {
				for range g.entered {
				}
			}()
			close(g.goOn)
			testkit.Receive(t, ended)
			wantAll(t, rest)
			wantAll(t, spawnSigns(k, 1))
			close(g.entered)
			wantGroupIdle(t, e)
		})
	}
}

// If the computation panics, crypto/rsa makes the signatures, and the log says so.
func TestGroupSurvivesPanic(t *testing.T) {
	log := new(testkit.Log)
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(log.Logger())
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	e.do = func(*rsax8.Unit, []*rsax8.Request) { panic("broken lanes") }
	wantAll(t, spawnSigns(k, 3))
	if s := e.Stats(); s.Fallbacks != 3 || s.Operations != 0 {
		t.Errorf("%+v, want 3 fallbacks", s)
	}
	flushLogs()
	if !strings.Contains(log.String(), "broken lanes") {
		t.Errorf("the log has %q", log.String())
	}
	wantGroupIdle(t, e)
}

// A reader that ends the goroutine loses nobody.
func TestReaderEndsGoroutine(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Sign(readerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), digest, opts)
		t.Error("Sign returned")
	}()
	testkit.Receive(t, ended)
	wrong := errors.New("no entropy")
	if _, err := k.Sign(readerFunc(func([]byte) (int, error) { return 0, wrong }), digest, opts); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
	wantAll(t, spawnSigns(k, 2))
	wantGroupIdle(t, e)
}

// Fewer than MinBatch are left to crypto/rsa.
func TestFewGoroutines(t *testing.T) {
	e := newEngine(t, Config{MinBatch: 3})
	k := newKey(t, e, "2048a")
	if err := signs(context.Background(), k); err != nil {
		t.Error(err)
	}
	if s := e.Stats(); s != (Stats{Alone: 1}) {
		t.Errorf("%+v, want 1 alone", s)
	}
	wantGroupIdle(t, e)
}

// A key that is not bound to its job does not keep the loop waiting for
// goroutines: it signs at once, and that is counted and logged once.
func TestUnboundInJob(t *testing.T) {
	log := new(testkit.Log)
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(log.Logger())
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	g := newHolder()
	do := e.do
	e.holdAt(g)
	first := spawnSigns(k, 1) // leads, and computes for as long as the test wants
	testkit.Receive(t, g.entered)
	e.group.mu.Lock()
	e.do = do
	e.group.mu.Unlock()
	for range 2 {
		looptest.Must(t, l, func(context.Context) error { return signsWith(k) })
	}
	if s := e.Stats(); s.Unbound != 2 || s.BatchSizes[1] != 2 || s.Direct != 0 {
		t.Errorf("%+v, want 2 unbound", s)
	}
	flushLogs()
	if n := strings.Count(log.String(), "engine.GetCertificate"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	close(g.goOn)
	wantAll(t, first)
	wantGroupIdle(t, e)
}

// Goroutines, jobs, keys of all sizes and ends of contexts on one Engine: every
// signature is right, and nothing is left.
func TestMixed(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			e := newEngine(t, Config{})
			epoch := time.Now()
			e.now = func() time.Duration { return time.Since(epoch) }
			l := looptest.New(t, loop.Config{})
			var keys []*Key
			for _, name := range allKeys {
				keys = append(keys, newKey(t, e, name))
			}
			rounds := 6
			if testing.Short() {
				rounds = 2
			}
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					for n := range rounds {
						k := keys[(i+n)%len(keys)]
						d := sha256.Sum256(fmt.Appendf(nil, "%d %d", i, n))
						sig, err := k.Sign(rand.Reader, d[:], crypto.SHA256)
						if err == nil {
							err = rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, d[:], sig)
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			all := together(t, l, 16, func(ctx context.Context, i int) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				for n := range rounds {
					if i%4 == 3 && n == rounds-1 {
						cancel()
					}
					err := signs(ctx, keys[(i+n)%len(keys)])
					if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
						return err
					}
				}
				return nil
			})
			wg.Wait()
			mustAll(t, all)
			wantIdle(t, e, l)
			wantGroupIdle(t, e)
		})
	}
}

// OnBatch and the log's handler are the user's. They may sign themselves, with the
// Engine that calls them, and nobody waits for them meanwhile.
func TestCallsOfTheUserMaySign(t *testing.T) {
	testkit.CheckLeaks(t)
	var e *Engine
	var k *Key
	var nested sync.Once
	e = newEngine(t, Config{OnBatch: func(Batch) {
		nested.Do(func() {
			if err := signs(context.Background(), k); err != nil {
				t.Error(err)
			}
		})
	}})
	k = newKey(t, e, "2048a")
	h := newHolder()
	e.holdAt(h)
	first := spawnSigns(k, 1)
	testkit.Receive(t, h.entered)
	rest := spawnSigns(k, 6) // computed as four and two: a leader may compute others first
	testkit.Eventually(t, "6 requests wait", func() bool { return e.waiting() == 6 })
	go func() {
		for range h.entered {
		}
	}()
	close(h.goOn)
	wantAll(t, first)
	wantAll(t, rest)
	close(h.entered)
	wantGroupIdle(t, e)
}

// A log handler that signs with the key that it is told of, or that blocks, stops
// neither the loop nor those who sign.
func TestLogHandlerMaySignAndBlock(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	log := new(testkit.Log)
	release := make(chan bool)
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(&signingHandler{log.Logger().Handler(), func() error { <-release; return signsWith(k) }}))
	l := looptest.New(t, loop.Config{})
	for range 2 {
		looptest.Must(t, l, func(context.Context) error { return signsWith(k) })
	}
	wantAll(t, spawnSigns(k, 3))
	close(release)
	flushLogs()
	if s := e.Stats(); s.Unbound != 2 || s.Operations != 6 || strings.Count(log.String(), "engine.GetCertificate") != 1 {
		t.Errorf("%+v, logged %s", s, log.String())
	}
}

// flushLogs waits until what was logged is written.
func flushLogs() { logs.Flush(context.Background(), testkit.Patience) }

type signingHandler struct {
	slog.Handler
	sign func() error
}

func (h *signingHandler) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(h.sign(), h.Handler.Handle(ctx, r))
}
