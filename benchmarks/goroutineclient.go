//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// goroutineClient is the process that makes handshakes in the plain way: a
// goroutine for each connection, which blocks in crypto/tls.
type goroutineClient struct {
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

func (g *goroutineClient) Run(ctx context.Context) error {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // certificates are compared instead
	if g.Curve == "X25519" {
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	ctx, cancel := context.WithTimeout(ctx, g.Duration)
	defer cancel()
	all := make(map[agreedWith]int64)
	var mu sync.Mutex
	errs := make([]error, g.Connections)
	var wg sync.WaitGroup
	for i := range g.Connections {
		wg.Go(func() {
			for {
				a, err := g.handshake(config)
				if err != nil {
					errs[i] = err
					return
				}
				mu.Lock()
				all[a]++
				mu.Unlock()
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(goroutineResult(all))
}

func (g *goroutineClient) handshake(config *tls.Config) (agreedWith, error) {
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		return agreedWith{}, err
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(0)
	c.SetDeadline(time.Now().Add(ioTimeout))
	t := tls.Client(c, config)
	if err := t.Handshake(); err != nil {
		return agreedWith{}, err
	}
	s := t.ConnectionState()
	return agreedWith{s.Version, s.CipherSuite, s.CurveID, s.DidResume, string(s.PeerCertificates[0].Raw)}, nil
}

// goroutineResult tells of handshakes as "tlsdemo load" does, as far as that is
// read here.
func goroutineResult(all map[agreedWith]int64) *load.Result {
	r := new(load.Result)
	certificates := make(map[string]int64)
	for a, n := range all {
		r.Handshakes += n
		r.Negotiated = append(r.Negotiated, load.Negotiated{
			Version: tls.VersionName(a.version), Cipher: tls.CipherSuiteName(a.cipher), Curve: load.CurveName(a.curve), Resumed: a.resumed, Handshakes: n,
		})
		certificates[a.certificate] += n
	}
	for c, n := range certificates {
		r.Certificates = append(r.Certificates, load.Certificate{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(c))), Handshakes: n})
	}
	r.Total.Handshakes = r.Handshakes
	return r
}
