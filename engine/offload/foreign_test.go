package offload_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

// wantBlocked waits until a goroutine is in function, and blocks there.
func wantBlocked(t testing.TB, function string) {
	t.Helper()
	testkit.Eventually(t, function+" that blocks", func() bool {
		buf := make([]byte, 1<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if head, frames, _ := strings.Cut(stack, "\n"); strings.Contains(frames, function) {
				return strings.Contains(head, "[select")
			}
		}
		return false
	})
}

// wantUntouched proves that nothing of an operation is in the job's WaitCtx.
func wantUntouched(t testing.TB, j jobs.Job) {
	t.Helper()
	w := j.WaitCtx()
	if fds := w.AllFDs(nil); w.CallbackTaken() || len(fds) > 0 {
		t.Errorf("the callback is taken: %t, descriptors: %v; want neither", w.CallbackTaken(), fds)
	}
}

// On a goroutine that its job has started, a bound key blocks that goroutine
// while the job waits for it on a channel, and leaves the job alone.
func TestBoundKeyOnAnotherGoroutine(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		g := newGate(t)
		gated, k := newKey(t, e, g), newKey(t, e, rsaKey)
		done := r.Go(func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			slow, bound := gated.ForContext(ctx), k.ForContext(ctx)
			signed, decrypted := make(chan error), make(chan error)
			go func() { signed <- sign(slow) }()
			go func() { decrypted <- decrypts(bound.(crypto.Decrypter), &rsaKey.PublicKey) }()
			if err := <-decrypted; err != nil {
				return err
			}
			wantBlocked(t, "offload.(*operation).block")
			wantUntouched(t, j)
			g.open()
			if err := <-signed; err != nil {
				return err
			}
			wantUntouched(t, j)
			return decrypts(bound.(crypto.Decrypter), &rsaKey.PublicKey) // it can still pause
		})
		drain(t, []<-chan error{done})
		drain(t, []<-chan error{r.Go(signing(newKey(t, e, testkit.ECDSAKey())))})
		wantStats(t, e, "6 operations")
	})
}

// The job and goroutines that it has started use one bound key at a time.
func TestBoundKeyOnManyGoroutines(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		const goroutines, each = 4, 10
		e := newEngine(t, offload.Config{Workers: 2, Wake: mode})
		k := newKey(t, e, testkit.ECDSAKey())
		many := func(s crypto.Signer) (err error) {
			for range each {
				err = errors.Join(err, sign(s))
			}
			return err
		}
		done := r.Go(func(ctx context.Context) error {
			bound := k.ForContext(ctx)
			others := make(chan error, goroutines)
			for range goroutines {
				go func() { others <- many(bound) }()
			}
			err := many(bound)
			for range goroutines {
				err = errors.Join(err, <-others)
			}
			return err
		})
		drain(t, []<-chan error{done})
		wantStats(t, e, "50 operations")
	})
}

// On another goroutine a context binds nothing: the key stays as it is.
func TestForContextOnAnotherGoroutine(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		k := newKey(t, newEngine(t, offload.Config{Wake: mode}), testkit.ECDSAKey())
		drain(t, []<-chan error{r.Go(func(ctx context.Context) error {
			got := make(chan crypto.Signer)
			go func() { got <- k.ForContext(ctx) }()
			if s := <-got; s != crypto.Signer(k) {
				return errors.New("the key is bound")
			}
			return nil
		})})
	})
}
