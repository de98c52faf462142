package main

import (
	"crypto/tls"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

func init() { caddy.RegisterModule(new(loader)) }

// loader loads certificates whose keys are wrapped by package multibuffer.
type loader struct {
	Pairs []pair `json:"pairs"`

	log *zap.Logger
}

// pair is the files of a certificate, in PEM form.
type pair struct {
	Certificate string   `json:"certificate"` // with its chain
	Key         string   `json:"key"`
	Tags        []string `json:"tags,omitempty"`
}

// CaddyModule is how Caddy finds the loader.
func (*loader) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.certificates.load_multibuffer", New: func() caddy.Module { return new(loader) }}
}

// Provision takes Caddy's logger.
func (l *loader) Provision(ctx caddy.Context) error {
	l.log = ctx.Logger()
	return nil
}

// LoadCertificates is called by Caddy.
func (l *loader) LoadCertificates() ([]caddytls.Certificate, error) {
	var all []caddytls.Certificate
	for _, p := range l.Pairs {
		cert, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
		if err != nil {
			return nil, fmt.Errorf("load_multibuffer: %w", err)
		}
		if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
			l.log.Warn("the key is used as it is", zap.String("key", p.Key), zap.Error(err))
		}
		all = append(all, caddytls.Certificate{Certificate: cert, Tags: p.Tags})
	}
	return all, nil
}

var (
	_ caddy.Provisioner          = (*loader)(nil)
	_ caddytls.CertificateLoader = (*loader)(nil)
)
