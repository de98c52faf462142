//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package engine_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// newKey returns a Key that package offload has made of a crypto.Signer.
func newKey() engine.Key {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	offloader, err := offload.New(offload.Config{})
	if err != nil {
		log.Fatal(err)
	}
	key, err := offloader.Key(signer)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

// The configuration of a server whose handshakes pause while the key is at
// work.
func ExampleGetCertificate() {
	cert := &tls.Certificate{
		Certificate: [][]byte{ /* the chain */ },
		PrivateKey:  newKey(),
	}
	handler := &loop.TLSHandler{
		Config: &tls.Config{
			GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return cert, nil
			}),
		},
		Handler: func(ctx context.Context, c *loop.TLSConn) error { return nil },
	}
	_ = handler // for Loop.Listen
}

// The configuration of a TLS client, in a job, that shows a certificate.
func ExampleGetClientCertificate() {
	cert := &tls.Certificate{
		Certificate: [][]byte{ /* the chain */ },
		PrivateKey:  newKey(),
	}
	config := &tls.Config{
		GetClientCertificate: engine.GetClientCertificate(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		}),
	}
	_ = config // for tls.Client on what loop.Dial returns
}

// A certificate for one job.
func ExampleForContext() {
	cert := &tls.Certificate{PrivateKey: newKey()}
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		bound := engine.ForContext(ctx, cert)
		fmt.Println("bound to the job:", bound != cert)
		return nil
	})
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: bound to the job: true
}

func ExampleKey() {
	key := newKey()
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		digest := make([]byte, 32)
		_, err := key.ForContext(ctx).Sign(rand.Reader, digest, crypto.SHA256) // other jobs run on
		fmt.Println("signed, error", err)
		return err
	})
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: signed, error <nil>
}

// gatherer is an engine that does its work once for all jobs that wait.
type gatherer struct {
	waiting []jobs.Job
	round   int // how often the work has been done
}

type gathererKey struct{}

// wait pauses the job until the loop has nothing else to do.
func wait(ctx context.Context) error {
	host, ok := engine.HostFromContext(ctx)
	job, inside := jobs.FromContext(ctx)
	if !ok || !inside || job.PauseBlocked() {
		return nil // there is nobody to wait with
	}
	g, _ := host.Local(gathererKey{}).(*gatherer)
	if g == nil { // the first on this loop
		g = new(gatherer)
		host.SetLocal(gathererKey{}, g)
		host.BeforeSleep(func() {
			if len(g.waiting) > 0 {
				fmt.Println("work for", len(g.waiting), "jobs")
			}
			for _, j := range g.waiting {
				host.Ready(j)
			}
			g.waiting = nil
			g.round++
		})
	}
	g.waiting = append(g.waiting, job)
	for round := g.round; g.round == round; { // a resume may be spurious
		if err := job.Pause(); err != nil {
			return err
		}
	}
	return nil
}

// An engine learns from a job's context which loop it is on.
func ExampleHost() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	left := 3
	for range left {
		l.Go(func(ctx context.Context) error {
			err := wait(ctx)
			if left--; left == 0 {
				l.Close()
			}
			return err
		})
	}
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: work for 3 jobs
}
