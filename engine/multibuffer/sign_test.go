package multibuffer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// Signatures of every kind, made in batches of 1 to 8 and more, are those of
// crypto/rsa: PKCS #1 v1.5 and, given the same salt, PSS.
func TestSignaturesAreCryptoRSAs(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	for _, name := range allKeys {
		k := newKey(t, e, name)
		cases := signCases(k.rsa.Size())
		good := cases[:0]
		for i, c := range cases {
			if _, err := attempt(k.rsa, random(i), c.digest, c.opts); err == nil {
				good = append(good, c)
			}
		}
		for n := 1; len(good) > 0; n = n%11 + 1 {
			var some []signCase
			some, good = good[:min(n, len(good))], good[min(n, len(good)):]
			mustAll(t, together(t, l, len(some), func(ctx context.Context, i int) error {
				c := some[i]
				sig, err := k.ForContext(ctx).Sign(random(i), c.digest, c.opts)
				if err != nil {
					return fmt.Errorf("%s, %s: %v", name, c.name, err)
				}
				want, err := k.rsa.Sign(random(i), c.digest, c.opts)
				if err != nil || !bytes.Equal(sig, want) {
					return fmt.Errorf("%s, %s: signature %x\nwant %x, %v", name, c.name, sig, want, err)
				}
				return nil
			}))
		}
	}
	s := e.Stats()
	for _, n := range []int{1, 2, 3, 4, 8} {
		if s.BatchSizes[n] == 0 {
			t.Errorf("no batch of %d", n)
		}
	}
	if s.Direct+s.Fallbacks+s.Alone+s.Canceled != 0 {
		t.Errorf("not all were made in batches: %+v", s)
	}
	wantIdle(t, e, l)
}

// PSS with a random salt, as TLS 1.3 has it.
func TestPSSVerifies(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	for _, name := range allKeys {
		k := newKey(t, e, name)
		salts := []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, 11}
		sigs := make([][]byte, 8)
		mustAll(t, together(t, l, len(sigs), func(ctx context.Context, i int) (err error) {
			opts := &rsa.PSSOptions{SaltLength: salts[i%len(salts)], Hash: crypto.SHA256}
			sigs[i], err = k.ForContext(ctx).Sign(rand.Reader, digest, opts)
			if err != nil {
				return err
			}
			return rsa.VerifyPSS(&k.rsa.PublicKey, crypto.SHA256, digest, sigs[i], opts)
		}))
		if bytes.Equal(sigs[0], sigs[3]) {
			t.Error("two signatures have one salt")
		}
	}
	wantSizes(t, e, map[int]uint64{8: 4})
}

// What crypto/rsa refuses is refused by its own words, and at once.
func TestErrorsAreCryptoRSAs(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	refused := 0
	looptest.Must(t, l, func(ctx context.Context) error {
		bound := k.ForContext(ctx)
		for _, c := range signCases(k.rsa.Size()) {
			_, want := attempt(k.rsa, random(0), c.digest, c.opts)
			if want == nil {
				continue
			}
			refused++
			sig, err := attempt(bound, random(0), c.digest, c.opts)
			if sig != nil || err == nil || err.Error() != want.Error() || errors.Is(err, rsa.ErrMessageTooLong) != errors.Is(want, rsa.ErrMessageTooLong) {
				t.Errorf("%s: %v, want %v", c.name, err, want)
			}
		}
		broken := errors.New("broken")
		if _, err := bound.Sign(iotest.ErrReader(broken), digest, &rsa.PSSOptions{Hash: crypto.SHA256}); err != broken {
			t.Errorf("a broken rand: %v", err)
		}
		return nil
	})
	if refused < 50 {
		t.Errorf("only %d cases", refused)
	}
	if s := e.Stats(); s != (Stats{}) {
		t.Errorf("failures are counted: %+v", s)
	}
	wantIdle(t, e, l)
}

// A reader that pauses the job while another encodes: neither spoils the
// other's message.
func TestRandThatPauses(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	mustAll(t, together(t, l, 4, func(ctx context.Context, i int) error {
		slow := readerFunc(func(p []byte) (int, error) {
			if err := loop.Sleep(ctx, 0); err != nil {
				return 0, err
			}
			return rand.Read(p[:1])
		})
		opts := &rsa.PSSOptions{SaltLength: 20 + i, Hash: crypto.SHA256}
		sig, err := k.ForContext(ctx).Sign(slow, digest, opts)
		if err != nil {
			return err
		}
		return rsa.VerifyPSS(&k.rsa.PublicKey, crypto.SHA256, digest, sig, opts)
	}))
	wantIdle(t, e, l)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Outside jobs a Key is for any goroutine.
func TestSignOutsideJobs(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := signs(context.Background(), k); err != nil {
				t.Error(err)
			}
			e.Stats()
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Operations != 8 || s.Direct != 0 {
		t.Errorf("%+v, want 8 operations", s)
	}
	wantGroupIdle(t, e)
}

// A key that is bound to a job is no more than the key elsewhere.
func TestBoundKeyOutsideItsJob(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	var bound crypto.Signer
	var end func(any) error
	var arg any
	first := looptest.Spawn(t, l, func(ctx context.Context) error {
		bound = k.ForContext(ctx)
		if bound == crypto.Signer(k) {
			t.Error("the key is not bound")
		}
		if _, ok := bound.(engine.Key); ok {
			t.Error("a bound key asks to be bound again")
		}
		if bound.Public() != k.Public() {
			t.Error("another public key")
		}
		j, _ := jobs.FromContext(ctx)
		end, arg, _ = j.WaitCtx().Callback()
		return j.Pause()
	})
	looptest.Settle(t, l)
	check := func(where string, want uint64) {
		sig, err := bound.Sign(nil, digest, crypto.SHA256)
		if err == nil {
			err = rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, digest, sig)
		}
		if s := e.Stats(); err != nil || s.Operations != want || s.BatchSizes[1] != want || s.Direct != 0 {
			t.Errorf("%s: error %v, %+v, want %d operations, each alone", where, err, s, want)
		}
	}
	looptest.Call(t, l, func() { check("outside jobs", 1) })
	looptest.Must(t, l, func(ctx context.Context) error {
		check("in another job", 2)
		if j, _ := jobs.FromContext(ctx); j.WaitCtx().CallbackTaken() {
			t.Error("the other job's callback has been taken")
		}
		return nil
	})
	end(arg)
	if err := testkit.Receive(t, first); err != nil {
		t.Fatal(err)
	}
	looptest.Settle(t, l)
	looptest.Call(t, l, func() { check("after the job's end", 3) })
	wantIdle(t, e, l)
}

// A context without a job, or with one that is not on a loop, binds nothing.
func TestForContextWithoutLoop(t *testing.T) {
	e := newEngine(t, Config{})
	k := newKey(t, e, "2048a")
	if got := k.ForContext(context.Background()); got != crypto.Signer(k) {
		t.Errorf("without a job: %T", got)
	}
	p, err := jobs.NewPool(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, st, err := p.Start(nil, func(j jobs.Job) error {
		if got := k.ForContext(jobs.NewContext(context.Background(), j)); got != crypto.Signer(k) {
			t.Errorf("without a loop: %T", got)
		}
		return nil
	}); st != jobs.StatusFinished || err != nil {
		t.Errorf("%v, %v", st, err)
	}
}

func TestDecrypt(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	secret := []byte("secret")
	ciphertext, err := rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, &k.rsa.PublicKey, secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	looptest.Must(t, l, func(ctx context.Context) error {
		for _, d := range []any{k, k.ForContext(ctx)} {
			got, err := d.(crypto.Decrypter).Decrypt(rand.Reader, ciphertext, &rsa.OAEPOptions{Hash: crypto.SHA256})
			if err != nil || !bytes.Equal(got, secret) {
				t.Errorf("%T: %q, %v", d, got, err)
			}
		}
		return nil
	})
}

// A signature is the caller's: it is not changed by later ones.
func TestSignatureIsTheCallers(t *testing.T) {
	e := newEngine(t, Config{})
	l := looptest.New(t, loop.Config{})
	k := newKey(t, e, "2048a")
	looptest.Must(t, l, func(ctx context.Context) error {
		bound := k.ForContext(ctx)
		a, err := bound.Sign(nil, digest, crypto.SHA256)
		if err != nil {
			return err
		}
		kept := bytes.Clone(a)
		in := bytes.Clone(digest)
		if _, err := bound.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			return err
		}
		if !bytes.Equal(a, kept) || !bytes.Equal(in, digest) {
			return errors.New("a signature, or a digest, has changed")
		}
		return nil
	})
}
