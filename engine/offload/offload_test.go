package offload_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit"
)

func TestInvalidConfig(t *testing.T) {
	for _, tt := range []struct {
		cfg   offload.Config
		names string
	}{
		{offload.Config{Workers: -1}, "Workers is -1"},
		{offload.Config{Wake: 2}, "Wake is 2"},
		{offload.Config{Wake: -1}, "Wake is -1"},
	} {
		e, err := offload.New(tt.cfg)
		if e != nil || !errors.Is(err, offload.ErrInvalidConfig) || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("New(%+v): error %v, want ErrInvalidConfig: %s", tt.cfg, err, tt.names)
		}
	}
}

// Jobs whose operations wait do not hold others up, and at most Workers
// operations are in the signer.
func TestOthersRunMeanwhile(t *testing.T) {
	const workers, n = 3, 64
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Workers: workers, Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		var results []<-chan error
		for range n {
			results = append(results, r.Go(signing(k)))
		}
		for range workers {
			testkit.Receive(t, g.entered)
		}
		wantStats(t, e, fmt.Sprintf("%d queued, %d running", n-workers, workers))
		other := r.Go(func(context.Context) error { return nil })
		if err := testkit.Receive(t, other); err != nil {
			t.Error(err)
		}
		wantNone(t, results)
		g.open()
		drain(t, results)
		wantStats(t, e, fmt.Sprintf("%d operations", n))
		if most := g.most.Load(); most != workers {
			t.Errorf("%d operations at a time, want %d", most, workers)
		}
	})
}

// Who comes first is served first.
func TestOrder(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Workers: 1, Wake: mode})
		g := newGate(t)
		k := newKey(t, e, g)
		var served []byte // in the single worker's goroutine
		kinds := make(map[byte]<-chan error)
		recorder := newKey(t, e, signerFunc(func(_ io.Reader, d []byte, _ crypto.SignerOpts) ([]byte, error) {
			served = append(served, d[0])
			return d, nil
		}))
		first := r.Go(signing(k))
		testkit.Receive(t, g.entered)
		for i := range byte(10) {
			kinds[i] = r.Go(func(ctx context.Context) error {
				_, err := recorder.ForContext(ctx).Sign(rand.Reader, []byte{i}, crypto.Hash(0))
				return err
			})
			wantStats(t, e, fmt.Sprintf("%d queued, 1 running", i+1))
		}
		g.open()
		if err := testkit.Receive(t, first); err != nil {
			t.Error(err)
		}
		for i := range byte(10) {
			if err := testkit.Receive(t, kinds[i]); err != nil {
				t.Error(err)
			}
		}
		if want := "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"; string(served) != want {
			t.Errorf("served in the order %d", served)
		}
	})
}

// Outside jobs a Key blocks, within the same bound.
func TestOutsideJobs(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, offload.Config{Workers: 2})
	g := newGate(t)
	k := newKey(t, e, g)
	if s := k.ForContext(context.Background()); s != crypto.Signer(k) {
		t.Errorf("without a job, ForContext returns another key, %v", s)
	}
	done := make(chan error, 5)
	for range 5 {
		go func() { done <- sign(k) }()
	}
	testkit.Receive(t, g.entered)
	testkit.Receive(t, g.entered)
	wantStats(t, e, "3 queued, 2 running")
	g.open()
	for range 5 {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
	if most := g.most.Load(); most != 2 {
		t.Errorf("%d operations at a time, want 2", most)
	}
}

func TestErrorsOfTheSigner(t *testing.T) {
	errToken := errors.New("token removed")
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		e := newEngine(t, offload.Config{Wake: mode})
		k := newKey(t, e, signerFunc(func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
			return nil, errToken
		}))
		if err := testkit.Receive(t, r.Go(signing(k))); err != errToken {
			t.Errorf("error %v, want %v", err, errToken)
		}
		wantStats(t, e, "1 operations, 1 errors")
	})
}

// A signer that panics, or ends its goroutine, fails one operation; the next
// ones, which wait behind it, are done.
func TestPanicAndGoexit(t *testing.T) {
	cause := errors.New("no session")
	for _, end := range []struct {
		name  string
		call  func()
		check func(t *testing.T, err error)
	}{
		{"panic", func() { panic(cause) }, func(t *testing.T, err error) {
			var p *offload.PanicError
			if !errors.As(err, &p) || p.Value != any(cause) || !strings.Contains(string(p.Stack), "TestPanicAndGoexit") {
				t.Errorf("error %v, want a PanicError of the signer's", err)
			}
			testkit.WantErr(t, err, cause)
		}},
		{"Goexit", runtime.Goexit, func(t *testing.T, err error) { testkit.WantErr(t, err, offload.ErrGoexit) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
				e := newEngine(t, offload.Config{Workers: 1, Wake: mode})
				g := newGate(t)
				bad := newKey(t, e, signerFunc(func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
					<-g.through
					end.call()
					return nil, nil
				}))
				good := newKey(t, e, g)
				failing := r.Go(signing(bad))
				wantStats(t, e, "1 running")
				behind := []<-chan error{r.Go(signing(good)), r.Go(signing(good))}
				wantStats(t, e, "2 queued, 1 running")
				g.open()
				end.check(t, testkit.Receive(t, failing))
				drain(t, behind)
				drain(t, []<-chan error{r.Go(signing(good))})
				wantStats(t, e, "4 operations, 1 panics")
			})
		})
	}
}

func (hasher) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("signs messages only")
}

// The observer is told of each operation, when it has ended, as its caller is.
func TestOnOperation(t *testing.T) {
	onReactors(t, func(t *testing.T, r reactor, mode offload.WakeMode) {
		told := make(chan offload.Operation, 10)
		e := newEngine(t, offload.Config{
			Workers:     1,
			Wake:        mode,
			Timeout:     time.Hour,
			OnOperation: func(op offload.Operation) { told <- op },
		})
		errToken := errors.New("token removed")
		g := newGate(t)
		first := r.Go(signing(newKey(t, e, g)))
		testkit.Receive(t, g.entered)
		second := r.Go(signing(newKey(t, e, signerFunc(func(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
			return nil, errToken
		}))))
		wantStats(t, e, "1 queued, 1 running")
		if len(told) > 0 {
			t.Errorf("told of %+v before it has ended", <-told)
		}
		g.open()
		if err := testkit.Receive(t, first); err != nil {
			t.Error(err)
		}
		testkit.WantErr(t, testkit.Receive(t, second), errToken)
		a, b := testkit.Receive(t, told), testkit.Receive(t, told)
		if a.Err != nil {
			a, b = b, a // the reactor resumed the second one first
		}
		if a.Err != nil || a.Took <= 0 || a.Waited < 0 {
			t.Errorf("told of %+v, want a success that took a while", a)
		}
		if b.Err != errToken || b.Waited <= 0 || b.Took <= 0 {
			t.Errorf("told of %+v, want %v after a wait", b, errToken)
		}
		if len(told) > 0 {
			t.Errorf("also told of %+v", <-told)
		}
	})
}

// An observer that panics fails the job it is called in, and nothing else.
func TestOnOperationPanics(t *testing.T) {
	testkit.CheckLeaks(t)
	e := newEngine(t, offload.Config{OnOperation: func(offload.Operation) { panic("observer") }})
	k := newKey(t, e, testkit.ECDSAKey())
	func() {
		defer func() {
			if v := recover(); v != "observer" {
				t.Errorf("recovered %v", v)
			}
		}()
		sign(k)
	}()
	wantStats(t, e, "1 operations")
}

// Errors of timeouts are what deadlines' errors are.
func TestTimeoutError(t *testing.T) {
	var err net.Error
	if !errors.As(offload.ErrTimeout, &err) || !err.Timeout() {
		t.Errorf("ErrTimeout is %#v", offload.ErrTimeout)
	}
	testkit.WantErr(t, offload.ErrTimeout, os.ErrDeadlineExceeded)
}
