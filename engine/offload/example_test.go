//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package offload_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/loop"
)

// hsm is a key that takes its time.
type hsm struct{ *ecdsa.PrivateKey }

func openHSM() *hsm {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return &hsm{key}
}

func (k *hsm) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	time.Sleep(50 * time.Millisecond) // as slow tokens do
	return k.PrivateKey.Sign(rand, digest, opts)
}

// A TLS server whose key is slow: connections that wait for it do not hold
// the others up.
func Example() {
	offloader, err := offload.New(offload.Config{Workers: 4})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{ /* the chain */ }, PrivateKey: key}

	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = l.Listen("tcp", ":8443", &loop.TLSHandler{
		Config: &tls.Config{GetCertificate: engine.GetCertificate(
			func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil })},
		Handler: func(ctx context.Context, c *loop.TLSConn) error {
			_, err := io.WriteString(c, "hello\n")
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(l.Run(context.Background()))
}

// Code in a job that needs a signature asks for the job's own key.
func ExampleEngine_Key() {
	offloader, err := offload.New(offload.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		digest := sha256.Sum256([]byte("a message"))
		_, err := key.ForContext(ctx).Sign(rand.Reader, digest[:], crypto.SHA256)
		fmt.Println("signed, error", err)
		return err
	})
	l.Go(func(context.Context) error {
		fmt.Println("another job, meanwhile")
		return nil
	})
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// another job, meanwhile
	// signed, error <nil>
}

// An engine for a key server that does 50 requests at a time, and now and then
// does not answer.
func ExampleConfig() {
	offloader, err := offload.New(offload.Config{
		Workers:  50,
		Timeout:  2 * time.Second,
		MaxStuck: 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	_, err = key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleEngine() {
	offloader, err := offload.New(offload.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	if err := offloader.Close(); err != nil { // before the session with the token is closed
		log.Fatal(err)
	}
	_, err = key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	fmt.Println(err)
	// Output: offload: closed
}

// Metrics of a server's key.
func ExampleOperation() {
	offloader, err := offload.New(offload.Config{
		OnOperation: func(op offload.Operation) {
			fmt.Println("waited:", op.Waited < 10*time.Second, "took:", op.Took >= 50*time.Millisecond, "error:", op.Err)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	// Output: waited: true took: true error: <nil>
}

func ExampleStats() {
	offloader, err := offload.New(offload.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(openHSM())
	if err != nil {
		log.Fatal(err)
	}
	key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	s := offloader.Stats()
	fmt.Println(s.Operations, "operations,", s.Timeouts, "timeouts,", s.Stuck, "stuck")
	// Output: 1 operations, 0 timeouts, 0 stuck
}

// A reactor that knows descriptors only.
func ExampleWakeMode() {
	_, err := offload.New(offload.Config{Wake: offload.WakeFD})
	if errors.Is(err, offload.ErrInvalidConfig) {
		log.Print(err) // there are none on this system
	}
}

// faulty is a driver with a bug.
type faulty struct{ *ecdsa.PrivateKey }

func (faulty) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { panic("no session") }

func ExamplePanicError() {
	offloader, err := offload.New(offload.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(faulty{openHSM().PrivateKey})
	if err != nil {
		log.Fatal(err)
	}
	_, err = key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	var p *offload.PanicError
	if errors.As(err, &p) {
		fmt.Println("the signer panicked:", p.Value)
	}
	// Output: the signer panicked: no session
}
