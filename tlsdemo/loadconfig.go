package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the configuration of a run from the flags.

// config returns the configuration that the flags ask for, without the contents of
// files.
func (c *loadCmd) config() load.Config {
	cfg := load.Config{
		Targets: c.Targets, Sources: c.Source, Rate: c.Rate, Poisson: c.Arrivals.poisson, Seed: c.Seed,
		Duration: c.Duration, Count: c.Count, Ramp: c.Ramp, Timeout: c.Timeout, Patience: c.Patience, Hold: c.Hold, Abort: c.Abort, Loops: c.Loops, StartAt: c.StartAt.Time,
		TLS: load.TLSConfig{
			Version: uint16(c.TLS), Curve: tls.CurveID(c.Curve), Cipher: uint16(c.Cipher),
			ALPN: c.ALPN, ServerName: c.SNI.name, NoServerName: c.SNI.none, Insecure: c.Insecure,
		},
		Resume: float64(c.Resume), ProxyProtocol: int(c.Proxy), Request: c.Request,
	}
	if c.Sweep {
		cfg.Sweep = &load.SweepConfig{P99: c.SweepP99, Max: c.SweepMax}
		if cfg.Rate == 0 {
			cfg.Rate = 100
		}
	}
	switch {
	case c.Connections != nil:
		cfg.Connections = *c.Connections
	case cfg.Rate > 0:
		cfg.Connections = max(min(10000, load.MaxConnections()), cfg.Loops)
	default:
		cfg.Connections = max(64, cfg.Loops)
	}
	if cfg.Duration == 0 && cfg.Count == 0 {
		cfg.Duration = 10 * time.Second
		if c.Sweep {
			cfg.Duration = 5 * time.Second
		}
	}
	if cfg.Count == 0 {
		cfg.Warmup = time.Second
	}
	if c.Warmup != nil {
		cfg.Warmup = *c.Warmup
	}
	cfg.Reset = cfg.Rate == 0 || c.Sweep
	if c.Reset != nil {
		cfg.Reset = *c.Reset
	}
	return cfg
}

// readFiles adds the contents of files to the configuration.
func (c *loadCmd) readFiles(cfg *load.Config) error {
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		cfg.TLS.RootCAs = x509.NewCertPool()
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--ca: no certificate in %s", c.CA)
		}
	}
	if c.ClientCert != "" {
		cert, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return fmt.Errorf("--client-cert: %w", err)
		}
		if c.ClientSig != 0 {
			cert.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.SignatureScheme(c.ClientSig)}
		}
		cfg.TLS.Certificate = &cert
	}
	return nil
}
