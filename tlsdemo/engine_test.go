package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
)

// withMultibuffer skips the test if engine multibuffer does not work here.
func withMultibuffer(t *testing.T) {
	t.Helper()
	if err := multibuffer.Supported(); err != nil {
		t.Skip(err)
	}
}

// withoutMultibuffer turns engine multibuffer off in the programs that the test starts,
// whatever the CPU. FIPS mode does that.
func withoutMultibuffer(t *testing.T) {
	t.Helper()
	t.Setenv("GODEBUG", "fips140=on")
}

var testCerts = make(map[keyKind]*tls.Certificate)

// testCertificate returns a certificate with a key of the given kind. Each is made once.
func testCertificate(t *testing.T, kind keyKind) *tls.Certificate {
	t.Helper()
	if testCerts[kind] == nil {
		cert, err := newCertificate(kind)
		if err != nil {
			t.Fatal(err)
		}
		testCerts[kind] = cert
	}
	return testCerts[kind]
}

func TestEngineChoice(t *testing.T) {
	errOld := errors.New("the CPU is too old")
	for _, test := range []struct {
		engine      engineKind
		key         keyKind
		unsupported error
		want        string
		refused     string
	}{
		{engineAuto, "rsa2048", nil, "multibuffer (RSA key, this CPU has AVX-512 IFMA)", ""},
		{engineAuto, "rsa2048", errOld, "none (RSA key, but the CPU is too old)", ""},
		{engineAuto, "ecdsa-p256", nil, "none (ECDSA key)", ""},
		{engineAuto, "ed25519", errOld, "none (Ed25519 key)", ""},
		{engineMultibuffer, "rsa2048", nil, "multibuffer (RSA key, this CPU has AVX-512 IFMA)", ""},
		{engineMultibuffer, "rsa2048", errOld, "offload (RSA key, but the CPU is too old)", "RSA key, but the CPU is too old"},
		{engineMultibuffer, "ecdsa-p384", nil, "none (ECDSA key)", "ECDSA key"},
		{engineOffload, "rsa2048", nil, "offload (RSA key)", ""},
		{engineOffload, "ecdsa-p256", errOld, "offload (ECDSA key)", ""},
		{engineNone, "rsa2048", nil, "none (as asked for)", ""},
	} {
		t.Run(fmt.Sprintf("%s %s %v", test.engine, test.key, test.unsupported), func(t *testing.T) {
			e, err := newEngines(engineOptions{kind: test.engine, loops: 1})
			if err != nil {
				t.Fatal(err)
			}
			if test.unsupported != nil {
				e.multibuffer, e.unsupported = nil, test.unsupported
			} else if strings.HasPrefix(test.want, "multibuffer") {
				withMultibuffer(t)
			}
			cert := testCertificate(t, test.key)
			taken, choice, err := e.take(cert)
			if err != nil {
				t.Fatal(err)
			}
			if choice.String() != test.want || choice.refused != test.refused {
				t.Errorf("engine %v, refused %q, want %s, %q", choice, choice.refused, test.want, test.refused)
			}
			plain := reflect.TypeOf(taken.PrivateKey) == reflect.TypeOf(cert.PrivateKey)
			in := strings.HasPrefix(fmt.Sprintf("%T", taken.PrivateKey), "*"+string(choice.engine)+".")
			if plain != (choice.engine == engineNone) || in == plain {
				t.Errorf("the key is a %T, told was engine %s", taken.PrivateKey, choice.engine)
			}
		})
	}
}

// An RSA key of a size that multibuffer does not support goes to the next best engine.
func TestEngineChoiceBySize(t *testing.T) {
	withMultibuffer(t)
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[engineKind]engineKind{engineAuto: engineNone, engineMultibuffer: engineOffload} {
		e, err := newEngines(engineOptions{kind: asked, loops: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, choice, err := e.take(&tls.Certificate{PrivateKey: key})
		if err != nil || choice.engine != want || !strings.Contains(choice.why, "1024 bits") || (choice.refused != "") != (asked == engineMultibuffer) {
			t.Errorf("%s: engine %v, refused %q, %v, want %s", asked, choice, choice.refused, err, want)
		}
	}
}

// A key that no engine can use is an error. No server starts without a key.
func TestEngineWithoutSigner(t *testing.T) {
	e, err := newEngines(engineOptions{kind: engineAuto, loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.take(&tls.Certificate{PrivateKey: "no key"}); err == nil || !strings.Contains(err.Error(), "string") {
		t.Errorf("error %v", err)
	}
}

// onSign gets the engine that made the signature.
func TestEngineTellsSignatures(t *testing.T) {
	told := make(map[engineKind]int)
	for _, kind := range []engineKind{engineNone, engineOffload} {
		e, err := newEngines(engineOptions{kind: kind, loops: 1, onSign: func(k engineKind, took time.Duration) {
			if took > 0 {
				told[k]++
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		cert, _, err := e.take(testCertificate(t, "ecdsa-p256"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.PrivateKey.(crypto.Signer).Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			t.Error(err)
		}
	}
	if len(told) != 2 || told[engineNone] != 1 || told[engineOffload] != 1 {
		t.Errorf("told %v, want one signature of each", told)
	}
}

// boundKey is an engine.Key that knows its job from a context.
type boundKey struct {
	crypto.Signer
	job string
}

type jobName struct{}

func (k *boundKey) ForContext(ctx context.Context) crypto.Signer {
	return &boundKey{k.Signer, ctx.Value(jobName{}).(string)}
}

func (k *boundKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("in " + k.job)
}

// A watched key passes the context of the job on to the key inside it.
func TestWatchedKeyPassesTheJob(t *testing.T) {
	open := 0
	k := &watchedKey{&boundKey{job: "no job"}, func() func() { open++; return func() { open-- } }}
	ctx := context.WithValue(t.Context(), jobName{}, "job 7")
	if _, err := k.ForContext(ctx).Sign(nil, nil, nil); err == nil || err.Error() != "in job 7" {
		t.Errorf("signed %v, want in job 7", err)
	}
	if open != 0 {
		t.Errorf("%d signatures begun and not ended", open)
	}
	plain := testCertificate(t, "ed25519").PrivateKey.(crypto.Signer)
	if got := (&watchedKey{plain, k.watch}).ForContext(ctx).Public(); !got.(interface{ Equal(crypto.PublicKey) bool }).Equal(plain.Public()) {
		t.Error("another public key")
	}
}

// engineOf returns what the program prints after "engine: ".
func engineOf(line string) string {
	_, engine, _ := strings.Cut(strings.TrimSpace(line), "engine: ")
	return engine
}

// A watched key decrypts if the key inside it does, bound to a job or not. If it
// did not, metrics would change which cipher suites the server offers.
func TestWatchedKeyDecrypts(t *testing.T) {
	nothing := func() func() { return func() {} }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("secret")
	sealed, err := rsa.EncryptPKCS1v15(rand.Reader, &rsaKey.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.Signer{rsaKey}
	if e, err := multibuffer.New(multibuffer.Config{}); err == nil {
		k, err := e.Key(rsaKey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	for _, key := range keys {
		watched := watchKey(key, nothing)
		for _, k := range []crypto.Signer{watched, watched.(engine.Key).ForContext(t.Context())} {
			d, ok := k.(crypto.Decrypter)
			if !ok {
				t.Errorf("%T around %T does not decrypt", k, key)
				continue
			}
			if got, err := d.Decrypt(rand.Reader, sealed, nil); err != nil || !bytes.Equal(got, secret) {
				t.Errorf("%T around %T: %q, %v", k, key, got, err)
			}
		}
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := watchKey(ecdsaKey, nothing).(crypto.Decrypter); ok {
		t.Error("an ECDSA key seems to decrypt")
	}
}

func TestServeEngines(t *testing.T) {
	withMultibuffer(t)
	const lanes = "multibuffer (RSA key, this CPU has AVX-512 IFMA)"
	for _, test := range []struct{ args, engine, complaint string }{
		{"--key rsa2048", lanes, ""},
		{"--key rsa3072 --loops 2", lanes, ""},
		{"--key rsa4096 --engine multibuffer --engine-on-worker", lanes, ""},
		{"--key rsa2048 --engine none", "none (as asked for)", ""},
		{"--key rsa2048 --engine offload --engine-workers 2", "offload (RSA key)", ""},
		{"--key ecdsa-p256", "none (ECDSA key)", ""},
		{"--key ecdsa-p256 --engine offload", "offload (ECDSA key)", ""},
		{"--key ed25519 --engine multibuffer", "none (Ed25519 key)", "tlsdemo: --engine multibuffer does not work (Ed25519 key): using engine none instead\n"},
	} {
		s := serve(t, strings.Fields(test.args)...)
		if got := engineOf(s.first); got != test.engine {
			t.Errorf("%s: engine %q, want %q", test.args, got, test.engine)
		}
		if test.complaint != "" {
			if got := s.complaint(); got != test.complaint {
				t.Errorf("%s: %q, want %q", test.args, got, test.complaint)
			}
		}
		shakeHands(t, s)
		s.stop()
	}
}

// handshakesAtATime is how many connections shakeHands makes.
const handshakesAtATime = 12

// shakeHands makes connections with both versions of TLS.
func shakeHands(t *testing.T, s *served) {
	t.Helper()
	errs := make(chan error)
	for i := range handshakesAtATime {
		go func() {
			c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12 + uint16(i%2)})
			if err == nil {
				c.Close()
			}
			errs <- err
		}()
	}
	for range handshakesAtATime {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// If an engine does not work here, the program says so and uses the next best one.
func TestServeWithoutMultibuffer(t *testing.T) {
	withoutMultibuffer(t)
	const why = "RSA key, but multibuffer: not supported: FIPS 140 mode is on"
	s := serve(t, "--engine", "multibuffer", "--engine-workers", "1")
	if got, want := s.complaint(), "tlsdemo: --engine multibuffer does not work ("+why+"): using engine offload instead\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := engineOf(s.first), "offload ("+why+")"; got != want {
		t.Errorf("engine %q, want %q", got, want)
	}
	shakeHands(t, s)
	s.stop()

	s = serve(t) // auto prints no warning
	if got, want := engineOf(s.first), "none ("+why+")"; got != want {
		t.Errorf("engine %q, want %q", got, want)
	}
	shakeHands(t, s)
	s.stop()
}

// After a reload, the new key may be of another kind and go into another engine.
func TestReloadAcrossEngines(t *testing.T) {
	withMultibuffer(t)
	dir := t.TempDir()
	cert, key := writeCertificateOf(t, dir, "rsa2048")
	s := serve(t, "--engine", "multibuffer", "--cert", cert, "--keyfile", key)
	const lanes = "multibuffer (RSA key, this CPU has AVX-512 IFMA)"
	if got := engineOf(s.first); got != lanes {
		t.Fatalf("engine %q, want %q", got, lanes)
	}
	serial := s.serial()
	for _, next := range []struct {
		kind      keyKind
		engine    string
		complaint string
	}{
		{"ecdsa-p256", "none (ECDSA key)", "tlsdemo: --engine multibuffer does not work (ECDSA key): using engine none instead\n"},
		{"rsa3072", lanes, ""},
	} {
		writeCertificateOf(t, dir, next.kind)
		s.signal(syscall.SIGHUP)
		if next.complaint != "" {
			if got := s.complaint(); got != next.complaint {
				t.Errorf("%s: %q, want %q", next.kind, got, next.complaint)
			}
		}
		if got := engineOf(s.line()); got != next.engine {
			t.Errorf("%s: engine %q, want %q", next.kind, got, next.engine)
		}
		before := serial
		if serial = s.serial(); serial == before {
			t.Errorf("%s: the certificate is the one before", next.kind)
		}
		shakeHands(t, s)
	}
	s.stop()
}

// Handshakes in progress succeed when the key moves to another engine.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificateOf(t, dir, "rsa2048")
	s := serve(t, "--cert", cert, "--keyfile", key)
	stop := make(chan struct{})
	errs := make(chan error)
	const clients = 4
	for range clients {
		go func() {
			for {
				select {
				case <-stop:
					errs <- nil
					return
				default:
				}
				c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					errs <- err
					return
				}
				c.Close()
			}
		}()
	}
	for i := range 20 {
		writeCertificateOf(t, dir, []keyKind{"ecdsa-p256", "rsa2048"}[i%2])
		s.signal(syscall.SIGHUP)
		if got := s.line(); !strings.HasPrefix(got, "reloaded certificate ") {
			t.Errorf("after SIGHUP: %q", got)
		}
	}
	close(stop)
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	s.stop()
}
