package offload_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

// newEngine returns an Engine that has nothing to do when the test ends.
func newEngine(t testing.TB, cfg offload.Config) *offload.Engine {
	t.Helper()
	e, err := offload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		testkit.Eventually(t, "an engine with nothing to do", func() bool {
			s := e.Stats()
			return s.Queued == 0 && s.Running == 0 && s.Stuck == 0
		})
	})
	return e
}

// withTimeout runs a test with a short timeout. If on a busy machine that has
// passed before the operations came to their signer, the test returns false, and
// is run again with a longer one.
func withTimeout(t testing.TB, timeout time.Duration, test func(timeout time.Duration) (entered bool)) {
	t.Helper()
	for ; !test(timeout); timeout *= 2 {
		if timeout > testkit.Patience {
			t.Fatal("no operation comes to its signer")
		}
	}
}

func newKey(t testing.TB, e *offload.Engine, signer crypto.Signer) engine.Key {
	t.Helper()
	k, err := e.Key(signer)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// gate is a signer whose operations wait to be let through.
type gate struct {
	crypto.Signer
	entered chan int      // an operation's number, from 1, as it begins
	through chan struct{} // takes one value, or is closed, to let through
	n       atomic.Int32  // operations begun
	inside  atomic.Int32
	most    atomic.Int32 // inside at a time
}

// hasEntered reports whether another operation has begun, without waiting.
func (g *gate) hasEntered() bool {
	select {
	case <-g.entered:
		return true
	default:
		return false
	}
}

// newGate returns a gate before ecdsaKey, which is open when the test ends.
func newGate(t testing.TB) *gate {
	g := &gate{Signer: testkit.ECDSAKey(), entered: make(chan int, 10000), through: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

// open lets all operations through, from now on.
func (g *gate) open() {
	select {
	case <-g.through:
	default:
		close(g.through)
	}
}

func (g *gate) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	inside := g.inside.Add(1)
	defer g.inside.Add(-1)
	for most := g.most.Load(); inside > most && !g.most.CompareAndSwap(most, inside); most = g.most.Load() {
	}
	g.entered <- int(g.n.Add(1))
	<-g.through
	return g.Signer.Sign(rand, digest, opts)
}

// signerFunc is a signer with ecdsaKey's public key.
type signerFunc func(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error)

func (signerFunc) Public() crypto.PublicKey { return testkit.ECDSAKey().Public() }

func (f signerFunc) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f(rand, digest, opts)
}

var digest = sha256.Sum256([]byte("what is signed"))

// sign has k sign digest, and verifies the signature with ecdsaKey.
func sign(k crypto.Signer) error {
	sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(&testkit.ECDSAKey().PublicKey, digest[:], sig) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// signing is a job that signs.
func signing(k engine.Key) func(context.Context) error {
	return func(ctx context.Context) error { return sign(k.ForContext(ctx)) }
}

// drain receives n results, none of which may be an error.
func drain(t testing.TB, results []<-chan error) {
	t.Helper()
	for i, c := range results {
		if err := testkit.Receive(t, c); err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
}

// wantNone proves that none of the results is there.
func wantNone(t testing.TB, results []<-chan error) {
	t.Helper()
	for i, c := range results {
		select {
		case err := <-c:
			t.Errorf("operation %d has ended already: %v", i, err)
		default:
		}
	}
}

// stats describes the counts that are not zero.
func stats(e *offload.Engine) string {
	s := e.Stats()
	var parts []string
	for _, c := range []struct {
		name string
		n    uint64
	}{
		{"operations", s.Operations}, {"errors", s.Errors}, {"timeouts", s.Timeouts}, {"canceled", s.Canceled},
		{"panics", s.Panics}, {"dropped", s.Dropped},
		{"queued", uint64(s.Queued)}, {"running", uint64(s.Running)}, {"stuck", uint64(s.Stuck)},
	} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return strings.Join(parts, ", ")
}

// wantStats waits until the counts are these.
func wantStats(t testing.TB, e *offload.Engine, want string) {
	t.Helper()
	for end := time.Now().Add(testkit.Patience); stats(e) != want; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("counts are %s, want %s", stats(e), want)
		}
	}
}
