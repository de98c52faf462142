//go:build linux

package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobloop/jobloop/internal/load"
)

// Goroutines is the process that makes handshakes in the plain way: a
// goroutine for each connection, which blocks in crypto/tls.
type Goroutines struct {
	Addr        string `arg:""`
	Connections int
	Duration    time.Duration
	Curve       string `enum:"X25519,default" default:"default"`
}

// agreedWith is what a handshake has agreed on, and with whom.
type agreedWith struct {
	version, cipher uint16
	curve           tls.CurveID
	resumed         bool
	certificate     string // in DER form
}

// Run makes handshakes for Duration and prints a load.Result. The first that
// fails is an error.
func (g *Goroutines) Run(ctx context.Context) error {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // certificates are compared instead
	if g.Curve == "X25519" {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	ctx, cancel := context.WithTimeout(ctx, g.Duration)
	defer cancel()
	all := make(map[agreedWith]int64)
	var mu sync.Mutex
	workers, ctx := errgroup.WithContext(ctx)
	for range g.Connections {
		workers.Go(func() error {
			for {
				a, err := g.handshake(config)
				if err != nil {
					return err
				}
				mu.Lock()
				all[a]++
				mu.Unlock()
				if ctx.Err() != nil {
					return nil
				}
			}
		})
	}
	if err := workers.Wait(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(goroutineResult(all))
}

func (g *Goroutines) handshake(config *tls.Config) (agreedWith, error) {
	c, err := dial(context.Background(), new(net.Dialer), g.Addr)
	if err != nil {
		return agreedWith{}, err
	}
	defer c.Close()
	t := tls.Client(c, config)
	if err := t.Handshake(); err != nil {
		return agreedWith{}, err
	}
	s := t.ConnectionState()
	return agreedWith{s.Version, s.CipherSuite, s.CurveID, s.DidResume, string(s.PeerCertificates[0].Raw)}, nil
}

// goroutineResult describes handshakes as "tlsdemo load" does, as far as Agreement
// needs it.
func goroutineResult(all map[agreedWith]int64) *load.Result {
	r := new(load.Result)
	for a, n := range all {
		r.Handshakes += n
		r.Negotiated = append(r.Negotiated, load.Negotiated{
			Version: tls.VersionName(a.version), Cipher: tls.CipherSuiteName(a.cipher), Curve: load.CurveName(a.curve), Resumed: a.resumed, Handshakes: n,
		})
		r.Certificates = append(r.Certificates, load.Certificate{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(a.certificate))), Handshakes: n})
	}
	r.Total.Handshakes = r.Handshakes
	return r
}
