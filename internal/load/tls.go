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

// classicalCurves is what crypto/tls offers, without the hybrids with ML-KEM: few
// servers have these, and making their key shares costs the client over a third of
// its CPU time for a handshake ("go run ./benchmarks clients"). The share that is
// sent is X25519's. The others are named because servers want to see the curve
// of an ECDSA certificate, too (RFC 8422, section 5.1.1).
var classicalCurves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// tlsConfigs returns the configurations of one loop's handshakes with a target:
// for full ones, and for those that resume sessions.
func (c *Config) tlsConfigs(host string, seen *certificates, cache tls.ClientSessionCache) (full, resume *tls.Config) {
	o := &c.TLS
	full = &tls.Config{
		ServerName: host,
		NextProtos: o.ALPN,
		MinVersion: tls.VersionTLS12,
		// What crypto/tls would do in each handshake is done once for each
		// certificate, by VerifyConnection.
		InsecureSkipVerify: true,
	}
	if o.ServerName != "" {
		full.ServerName = o.ServerName
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
		// Whatever authorities the server names: that it refuses is a result.
		full.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate, nil }
	}
	verify := x509.VerifyOptions{DNSName: full.ServerName, Roots: o.RootCAs}
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

// maxCertificates is how many different certificates are told apart. Further
// ones are verified each time, and counted together.
const maxCertificates = 64

// certificates are those that servers have shown to one loop.
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

// of returns the entry for a chain. crypto/tls keeps parsed certificates as
// long as anybody has them, so the same chain is the same pointers; a few
// entries more than certificates, if it did not, would do no harm.
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

// verify does what crypto/tls does for a client without InsecureSkipVerify.
func (cs *certificates) verify(chain []*x509.Certificate, opts x509.VerifyOptions) error {
	if len(chain) == 0 {
		return errors.New("tls: the server has shown no certificate")
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

// describe returns what the result says of a certificate.
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

// session is a tls.ClientSessionCache for the sessions with one target: it has
// the last one, which handshakes resume again and again.
type session struct {
	state *tls.ClientSessionState
	stamp int // counts the sessions
}

func (s *session) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }

func (s *session) Put(_ string, state *tls.ClientSessionState) {
	s.state = state // nil: crypto/tls has found that it is of no use
	if state != nil {
		s.stamp++
	}
}
