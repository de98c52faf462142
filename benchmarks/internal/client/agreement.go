//go:build linux

package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// Kind is a kind of handshake.
type Kind struct {
	Key    string `json:"key"`
	TLS    string `json:"tls"`    // "1.3"
	Resume string `json:"resume"` // "full" or "resumed"
	// Curve is the key exchange that the client offers; empty: X25519. TLS 1.2 has
	// no other.
	Curve string `json:"curve,omitempty"`
}

// Full is a full handshake of TLS 1.3 with such a key.
func Full(key string) Kind { return Kind{Key: key, TLS: "1.3", Resume: "full"} }

// Kinds returns all combinations.
func Kinds(keys, versions, resume []string) (all []Kind) {
	for _, k := range keys {
		for _, v := range versions {
			for _, r := range resume {
				all = append(all, Kind{Key: k, TLS: v, Resume: r})
			}
		}
	}
	return all
}

func (k Kind) String() string {
	text := k.Key + ", TLS " + k.TLS + ", " + k.Resume
	if k.Curve != "" {
		text += ", " + k.Curve
	}
	return text
}

// Resumed says whether sessions are to be resumed.
func (k Kind) Resumed() bool { return k.Resume == "resumed" }

// Args are the flags of "tlsdemo load" for such handshakes. A cipher suite can
// be chosen in TLS 1.2 only; in 1.3 the servers choose the same, which is
// checked.
func (k Kind) Args() []string {
	args := []string{"--tls", k.TLS, "--insecure"} // certificates are compared instead
	ecdsa := strings.HasPrefix(k.Key, "ecdsa")
	if k.TLS == "1.3" || !ecdsa {
		// In TLS 1.2 the client has to name the curve of an ECDSA certificate,
		// too (RFC 8422, 5.1.1).
		args = append(args, "--curve", cmp.Or(k.Curve, "X25519"))
	}
	if k.TLS == "1.2" {
		kind := "RSA"
		if ecdsa {
			kind = "ECDSA"
		}
		args = append(args, "--cipher", "TLS_ECDHE_"+kind+"_WITH_AES_128_GCM_SHA256")
	}
	if k.Resumed() {
		return append(args, "--resume", "tickets")
	}
	return append(args, "--resume", "none")
}

// ErrNotResumed means that too few handshakes of a load resumed a session.
var ErrNotResumed = errors.New("not resumed")

// Agreement is the version, cipher suite and curve that all servers must agree on
// with the client in handshakes of one kind, whatever application protocol they
// have. The zero Agreement takes those of the first server that is checked.
type Agreement struct {
	who  string
	what load.Negotiated
}

// Check returns an error if a load was not what it should have been: if any of
// its handshakes was with another server than the one whose certificate has this
// hash, was not of this kind, did not agree on this application protocol (ALPN; "":
// on none), or differs from those of other servers. A load in which no handshake
// succeeded passes. who names the server in errors.
func (a *Agreement) Check(who string, k Kind, alpn string, r *load.Result, sha256 string) error {
	switch certs := r.Certificates; {
	case r.Handshakes == 0:
		return nil
	case len(certs) != 1:
		return fmt.Errorf("the client saw %d certificates, and not this server's alone", len(certs))
	case certs[0].SHA256 != sha256 || certs[0].Handshakes != r.Handshakes:
		return fmt.Errorf("%d of %d handshakes were with the certificate %s; this server's is %s", certs[0].Handshakes, r.Handshakes, certs[0].SHA256, sha256)
	}
	what, err := k.agreed(r)
	if err != nil {
		return err
	}
	if what.ALPN != alpn {
		return fmt.Errorf("its handshakes agreed on the application protocol %q instead of %q", what.ALPN, alpn)
	}
	what.ALPN = "" // it differs between protocols
	if a.who == "" {
		a.who, a.what = who, what
	}
	if what != a.what {
		return fmt.Errorf("its handshakes agreed on %s, but %s's on %s", agreedText(what), a.who, agreedText(a.what))
	}
	return nil
}

// agreed returns what the handshakes of a load agreed on, without their number. If
// they are to be full, all must be. If they are to be resumed, 99 % must be, since
// some have to get the session first.
func (k Kind) agreed(r *load.Result) (what load.Negotiated, err error) {
	var of []load.Negotiated // of the kind that is wanted
	wanted, sum := int64(0), int64(0)
	for _, n := range r.Negotiated {
		sum += n.Handshakes
		if n.Resumed == k.Resumed() {
			wanted += n.Handshakes
			of = append(of, n)
		}
	}
	switch {
	case sum != r.Handshakes:
		err = fmt.Errorf("the client tells of %d handshakes what they agreed on, and made %d", sum, r.Handshakes)
	case k.Resumed() && sum-wanted > max(sum/100, int64(r.MaxInFlight)): // each connection has to get a session first
		err = fmt.Errorf("%w: %d of %d handshakes resumed a session", ErrNotResumed, wanted, sum)
	case !k.Resumed() && wanted != sum:
		err = fmt.Errorf("%d of %d handshakes resumed a session", sum-wanted, sum)
	case len(of) != 1:
		err = fmt.Errorf("its handshakes agreed on %s, but also on %s", agreedText(of[0]), agreedText(of[1]))
	case k.Curve != "" && of[0].Curve != k.Curve:
		err = fmt.Errorf("its handshakes agreed on %s instead of %s", of[0].Curve, k.Curve)
	case of[0].Version != "TLS "+k.TLS:
		err = fmt.Errorf("its handshakes agreed on %s instead of TLS %s", of[0].Version, k.TLS)
	default:
		what = of[0]
		what.Handshakes = 0
	}
	return what, err
}

func agreedText(n load.Negotiated) string {
	all := []string{n.Version, n.Cipher, n.Curve, n.ALPN}
	if n.Resumed {
		all = append(all, "resumed")
	}
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), ", ")
}
