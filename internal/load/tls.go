package load

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// classicalCurves are the key exchanges that crypto/tls offers, without the hybrids
// with ML-KEM. Few servers support the hybrids, and making their key shares takes over
// a third of the client's CPU time for a handshake (the benchmarks' scenario clients).
// Only X25519's key share is sent. The others are offered because a server with an
// ECDSA certificate wants to see its curve among them (RFC 8422, section 5.1.1).
var classicalCurves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// tlsConfigs returns the configurations for one loop's handshakes with a target: one
// for full handshakes, and one for handshakes that resume sessions.
func (c *Config) tlsConfigs(host string, seen *certificates, cache tls.ClientSessionCache) (full, resume *tls.Config) {
	o := &c.TLS
	full = &tls.Config{
		ServerName: host,
		NextProtos: o.ALPN,
		MinVersion: tls.VersionTLS12,
		// VerifyConnection verifies each certificate once. crypto/tls would do
		// so in each handshake.
		InsecureSkipVerify: true,
	}
	if o.ServerName != "" {
		full.ServerName = o.ServerName
	}
	verify := x509.VerifyOptions{DNSName: full.ServerName, Roots: o.RootCAs}
	if o.NoServerName {
		full.ServerName = ""
	}
	if o.Version != 0 {
		full.MinVersion, full.MaxVersion = o.Version, o.Version
	}
	full.CurvePreferences = classicalCurves
	if o.Curve != 0 {
		full.CurvePreferences = []tls.CurveID{o.Curve}
	}
	if o.Cipher != 0 {
		full.CipherSuites = []uint16{o.Cipher}
	}
	if o.Certificate != nil {
		// Send it whatever authorities the server names. If the server refuses
		// it, that is a result.
		full.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate, nil }
	}
	full.VerifyConnection = func(s tls.ConnectionState) error {
		if o.Insecure {
			return nil
		}
		return seen.verify(s.PeerCertificates, verify)
	}
	resume = full.Clone()
	resume.ClientSessionCache = cache
	return full, resume
}

// maxCertificates is how many different certificates are told apart. Further ones
// are verified each time and counted together.
const maxCertificates = 64

// certificates are the certificates that servers have sent to one loop.
type certificates struct {
	list  []*certificate
	other *certificate
}

type certificate struct {
	chain    []*x509.Certificate
	sum      [sha256.Size]byte // of the leaf
	verified map[string]error  // by DNS name
}

func newCertificates() *certificates { return &certificates{other: new(certificate)} }

// of returns the entry for a chain. crypto/tls shares parsed certificates while
// anything refers to them, so equal chains have equal pointers. If it did not, there
// would be a few more entries, which does no harm.
func (cs *certificates) of(chain []*x509.Certificate) *certificate {
	for _, c := range cs.list {
		if slices.Equal(c.chain, chain) {
			return c
		}
	}
	if len(cs.list) == maxCertificates || len(chain) == 0 {
		return cs.other
	}
	c := &certificate{
		chain:    slices.Clone(chain),
		sum:      sha256.Sum256(chain[0].Raw),
		verified: make(map[string]error),
	}
	cs.list = append(cs.list, c)
	return c
}

// verify verifies a chain as crypto/tls does without InsecureSkipVerify.
func (cs *certificates) verify(chain []*x509.Certificate, opts x509.VerifyOptions) error {
	if len(chain) == 0 {
		return errors.New("tls: the server sent no certificate")
	}
	c := cs.of(chain)
	if err, ok := c.verified[opts.DNSName]; ok && c != cs.other {
		return err
	}
	opts.CurrentTime = time.Now()
	opts.Intermediates = x509.NewCertPool()
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(opts)
	if err != nil {
		err = &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	if c != cs.other {
		c.verified[opts.DNSName] = err
	}
	return err
}

// describe returns the certificate as it appears in the result.
func (c *certificate) describe(handshakes int64) Certificate {
	if len(c.chain) == 0 {
		return Certificate{Subject: "others", Handshakes: handshakes}
	}
	leaf := c.chain[0]
	return Certificate{
		SHA256:     hex.EncodeToString(c.sum[:]),
		Subject:    leaf.Subject.String(),
		Key:        keyName(leaf.PublicKey),
		Handshakes: handshakes,
	}
}

func keyName(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

// session is a tls.ClientSessionCache for the sessions with one target. It keeps the
// last session, which handshakes resume again and again.
type session struct {
	state *tls.ClientSessionState
	stamp int // number of sessions so far
}

func (s *session) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }

func (s *session) Put(_ string, state *tls.ClientSessionState) {
	s.state = state // nil if crypto/tls found that the session cannot be used
	if state != nil {
		s.stamp++
	}
}

// restore brings back a session that crypto/tls dropped because a handshake failed, if the
// client itself ended that handshake: the session is as good as before.
func (s *session) restore(before *tls.ClientSessionState) {
	if s.state == nil {
		s.state = before
	}
}
