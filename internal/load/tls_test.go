package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// This file tests what the client offers in a handshake, and how it verifies
// certificates.

func TestWhatIsOffered(t *testing.T) {
	client := ca().issue("client 1")
	for _, test := range []struct {
		name   string
		config func(*TLSConfig)
		server func(*tls.Config)
		seen   []string
		agreed Negotiated
	}{
		{
			name: "no choice", config: func(*TLSConfig) {},
			server: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, // otherwise Go chooses
			seen:   []string{"version TLS 1.3", "sni ", "alpn "},
			agreed: Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "P-256"},
		},
		{
			name: "TLS 1.2 and its cipher",
			config: func(c *TLSConfig) {
				c.Version, c.Cipher = tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
			},
			seen:   []string{"version TLS 1.2", "cipher TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
			agreed: Negotiated{Version: "TLS 1.2", Cipher: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Curve: "X25519"},
		},
		{
			name: "P-256", config: func(c *TLSConfig) { c.Version, c.Curve = tls.VersionTLS13, tls.CurveP256 },
			seen:   []string{"version TLS 1.3", "curve P-256"},
			agreed: Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "P-256"},
		},
		{
			name: "P-384 in TLS 1.2", config: func(c *TLSConfig) { c.Version, c.Curve = tls.VersionTLS12, tls.CurveP384 },
			seen:   []string{"version TLS 1.2", "curve P-384"},
			agreed: Negotiated{Version: "TLS 1.2", Cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Curve: "P-384"},
		},
		{
			name: "hybrid", config: func(c *TLSConfig) { c.Curve = tls.X25519MLKEM768 },
			seen:   []string{"curve X25519MLKEM768"},
			agreed: Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519MLKEM768"},
		},
		{
			name:   "protocol and name",
			config: func(c *TLSConfig) { c.ALPN, c.ServerName, c.Curve = []string{"x", "http/1.1"}, serverName, tls.X25519 },
			server: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
			seen:   []string{"alpn http/1.1", "sni " + serverName},
			agreed: Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", ALPN: "http/1.1"},
		},
		{
			name:   "client certificate",
			config: func(c *TLSConfig) { c.Certificate, c.Curve = &client, tls.X25519 },
			server: func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca().pool },
			seen:   []string{"client client 1"},
			agreed: Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serveTLS(t, test.server, nil)
			cfg := closedConfig(s)
			cfg.Count, cfg.Loops = 6, 2
			test.config(&cfg.TLS)
			res := mustRun(t, t.Context(), cfg)
			wantErrors(t, res, "", 0)
			for _, what := range test.seen {
				want(t, "connections with "+what, s.times(what), 7)
			}
			test.agreed.Handshakes = 6
			if len(res.Negotiated) != 1 || !sameButCipher(res.Negotiated[0], test.agreed) {
				t.Errorf("negotiated %+v, want %+v", res.Negotiated, test.agreed)
			}
			if len(res.Certificates) != 1 {
				t.Fatalf("certificates %+v, want one, though there are two loops", res.Certificates)
			}
			c := res.Certificates[0]
			if c.Subject != "CN="+serverName || c.Key != "ECDSA P-256" || len(c.SHA256) != 64 || c.Handshakes != 6 {
				t.Errorf("certificate %+v", c)
			}
		})
	}
}

// sameButCipher compares all but the cipher, which in TLS 1.3 depends on the processor.
func sameButCipher(a, b Negotiated) bool {
	if a.Version == "TLS 1.3" {
		a.Cipher = b.Cipher
	}
	return a == b
}

func TestInsecure(t *testing.T) {
	s := serveTLS(t, func(c *tls.Config) { c.Certificates = []tls.Certificate{newAuthority().issue("elsewhere.test")} }, nil)
	cfg := closedConfig(s)
	cfg.TLS.Insecure = true
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
}

// manyCertificates is a server that sends a new certificate in each handshake.
func manyCertificates(t *testing.T, issue func() tls.Certificate) *server {
	return serveTLS(t, func(c *tls.Config) {
		c.Certificates = nil
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert := issue()
			return &cert, nil
		}
	}, nil)
}

func TestManyCertificates(t *testing.T) {
	s := manyCertificates(t, func() tls.Certificate { return ca().issue(serverName) })
	cfg := closedConfig(s)
	cfg.Count = maxCertificates + 20
	res := mustRun(t, t.Context(), cfg)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	// The probe's certificate is one of them. The last entry counts those beyond the
	// limit.
	want(t, "lines", len(res.Certificates), maxCertificates)
	i := slices.IndexFunc(res.Certificates, func(c Certificate) bool { return c.SHA256 == "" })
	if i < 0 || res.Certificates[i].Subject != "others" || res.Certificates[i].Handshakes != 21 {
		t.Errorf("certificates beyond the limit: %+v, want 21 of them together", res.Certificates[max(i, 0)])
	}
}

// Each certificate is verified, however many came before it.
func TestBadCertificateAmongMany(t *testing.T) {
	stranger := newAuthority()
	var hellos atomic.Int64
	s := manyCertificates(t, func() tls.Certificate {
		if hellos.Add(1)%3 == 0 {
			return stranger.issue(serverName)
		}
		return ca().issue(serverName)
	})
	cfg := closedConfig(s)
	cfg.Connections, cfg.Count, cfg.TLS.Version = 1, 5, tls.VersionTLS13
	res := mustRun(t, t.Context(), cfg)
	wantErrors(t, res, kindCertificate, 2) // the third and the sixth
	want(t, "handshakes", res.Handshakes, 3)
}

func TestVerifiedOnce(t *testing.T) {
	seen := newCertificates()
	chain := []*x509.Certificate{serverCert().Leaf}
	opts := x509.VerifyOptions{DNSName: serverName, Roots: ca().pool}
	if err := seen.verify(chain, opts); err != nil {
		t.Fatal(err)
	}
	// A second verification would fail, so success proves that there is none.
	opts.Roots = x509.NewCertPool()
	if err := seen.verify(slices.Clone(chain), opts); err != nil {
		t.Errorf("the same certificate was verified again: %v", err)
	}
	opts.DNSName = "other.test"
	for range 2 { // a failure is remembered too
		var failed *tls.CertificateVerificationError
		if err := seen.verify(chain, opts); !errors.As(err, &failed) {
			t.Errorf("error %v for another name, want a CertificateVerificationError", err)
		}
		opts.Roots = ca().pool
	}
	if err := seen.verify([]*x509.Certificate{newAuthority().issue(serverName).Leaf}, x509.VerifyOptions{DNSName: serverName, Roots: ca().pool}); err == nil {
		t.Error("another certificate of the same name was not verified")
	}
	if err := seen.verify(nil, opts); err == nil {
		t.Error("no certificate is as good as one")
	}
	for range 2 * maxCertificates {
		seen.of([]*x509.Certificate{ca().issue(serverName).Leaf})
	}
	want(t, "certificates that are kept", len(seen.list), maxCertificates)
	// A certificate that is not kept is verified each time.
	late := []*x509.Certificate{newAuthority().issue(serverName).Leaf}
	for _, roots := range []*x509.CertPool{nil, ca().pool} {
		if err := seen.verify(late, x509.VerifyOptions{DNSName: serverName, Roots: roots}); err == nil {
			t.Error("a certificate beyond the limit was not verified")
		}
	}
	good := []*x509.Certificate{ca().issue(serverName).Leaf}
	if err := seen.verify(good, x509.VerifyOptions{DNSName: serverName, Roots: ca().pool}); err != nil {
		t.Errorf("a good certificate after a bad one: %v", err)
	}
}

// Without a server name in the handshake, the certificate must still be for the target's
// host, and requests are for it. Sessions are resumed.
func TestNoServerName(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveTLS(t, func(c *tls.Config) { c.Certificates = []tls.Certificate{ca().issue("localhost")} }, nil)
		_, port, _ := strings.Cut(s.addr(), ":")
		cfg := closedConfig(s)
		cfg.Targets[0] = "localhost:" + port
		cfg.TLS.NoServerName, cfg.TLS.Version, cfg.Count, cfg.Resume, cfg.Connections = true, version, 6, 1, 1
		res := mustRun(t, t.Context(), cfg)
		wantErrors(t, res, "", 0)
		want(t, "handshakes without a name", s.times("sni "), 7)
		want(t, "requests of the host", s.times("host localhost:"+port), 7)
		want(t, "resumed", s.resumed.Load(), 6)
	}
	s := serveTLS(t, nil, nil) // its certificate is for another name
	_, port, _ := strings.Cut(s.addr(), ":")
	cfg := closedConfig(s)
	cfg.Targets[0], cfg.TLS.NoServerName = "localhost:"+port, true
	var hostname x509.HostnameError
	if _, err := Run(t.Context(), cfg); !errors.As(err, &hostname) {
		t.Errorf("a certificate for another name: %v", err)
	}
}
