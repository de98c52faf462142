package multibuffer_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/loop"
)

// A TLS server whose RSA signatures are gathered, where the machine can do
// that.
func Example() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	eng, err := multibuffer.New(multibuffer.Config{})
	if err == nil {
		var signer crypto.Signer
		if signer, err = eng.Key(cert.PrivateKey.(crypto.Signer)); err == nil {
			cert.PrivateKey = signer
		}
	}
	if err != nil {
		log.Print(err) // and crypto/rsa signs
	}

	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := l.Listen("tcp", ":443", &loop.TLSHandler{
		Config: &tls.Config{
			GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return &cert, nil
			}),
		},
		Handler: func(_ context.Context, c *loop.TLSConn) error {
			_, err := fmt.Fprintln(c, "hello")
			return err
		},
	}); err != nil {
		log.Fatal(err)
	}
	log.Fatal(l.Run(context.Background()))
}

func ExampleSupported() {
	switch err := multibuffer.Supported(); {
	case err == nil:
		fmt.Println("RSA signatures can be gathered")
	case errors.Is(err, multibuffer.ErrFIPS):
		fmt.Println("this program does all cryptography in Go's FIPS 140 module")
	default:
		fmt.Println(err)
	}
}

// A server watches how full its batches are.
func ExampleConfig() {
	eng, err := multibuffer.New(multibuffer.Config{
		MinBatch: 2,
		OnBatch: func(b multibuffer.Batch) {
			if b.Fallbacks > 0 {
				log.Printf("%d of %d signatures did not verify and were made again", b.Fallbacks, b.Requests)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = eng
}

func ExampleBatch() {
	b := multibuffer.Batch{Requests: 8, Bits: 2048, Took: 552 * time.Microsecond}
	fmt.Println(b.Took/time.Duration(b.Requests), "a signature")
	// Output: 69µs a signature
}

func ExampleEngine() {
	eng, err := multibuffer.New(multibuffer.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for range time.Tick(time.Minute) {
		s := eng.Stats()
		log.Printf("%d signatures in %d batches", s.Operations, s.Batches)
	}
}

// A Key signs for any job that asks it to.
func ExampleKey() {
	serve := func(ctx context.Context, key *multibuffer.Key) error { // in a job
		digest := sha256.Sum256([]byte("a token"))
		sig, err := key.ForContext(ctx).Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return err
		}
		fmt.Printf("%x\n", sig)
		return nil
	}
	_ = serve
}

func ExampleStats() {
	s := multibuffer.Stats{Operations: 23, Batches: 3, BatchSizes: [9]uint64{7: 1, 8: 2}}
	fmt.Printf("%.1f signatures a batch\n", float64(s.Operations)/float64(s.Batches))
	// Output: 7.7 signatures a batch
}

// A server of net/http whose RSA signatures are gathered, where the machine can do
// that. The key works as before where it cannot.
func ExampleWrap() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
		log.Print(err)
	}
	server := &http.Server{Addr: ":443", TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
