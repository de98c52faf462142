//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// This file has what a handshake can be like: the combinations that are
// measured, and the checks that a load was what it should have been.

// combination is a kind of handshake.
type combination struct {
	Key    string `json:"key"`
	TLS    string `json:"tls"`    // "1.3"
	Resume string `json:"resume"` // "full" or "resumed"
}

// combinations returns all of them.
func combinations(keys, versions, resume []string) (all []combination) {
	for _, k := range keys {
		for _, v := range versions {
			for _, r := range resume {
				all = append(all, combination{k, v, r})
			}
		}
	}
	return all
}

func (c combination) String() string { return c.Key + ", TLS " + c.TLS + ", " + c.Resume }
func (c combination) resumed() bool  { return c.Resume == "resumed" }

// args are the flags of "tlsdemo load" for such handshakes. A cipher suite can
// be chosen in TLS 1.2 only; in 1.3 the servers choose the same, which is
// checked.
func (c combination) args() []string {
	args := []string{"--tls", c.TLS, "--insecure"} // certificates are compared instead
	ecdsa := strings.HasPrefix(c.Key, "ecdsa")
	if c.TLS == "1.3" || !ecdsa {
		// In TLS 1.2 the client has to name the curve of an ECDSA certificate,
		// too (RFC 8422, 5.1.1).
		args = append(args, "--curve", "X25519")
	}
	if c.TLS == "1.2" {
		kind := "RSA"
		if ecdsa {
			kind = "ECDSA"
		}
		args = append(args, "--cipher", "TLS_ECDHE_"+kind+"_WITH_AES_128_GCM_SHA256")
	}
	if c.resumed() {
		return append(args, "--resume", "tickets")
	}
	return append(args, "--resume", "none")
}

// errNotResumed is of a load whose handshakes should have been resumed.
var errNotResumed = errors.New("not resumed")

// agreement is what all servers of a combination must have agreed on with the
// client: the same version, cipher suite and curve. The zero agreement takes the
// first server's.
type agreement struct {
	who  string
	what load.Negotiated
}

// check returns an error if a load was not what it should have been: if any of
// its handshakes was with another server than the one that has the certificate,
// was not of the combination, or differs from those of other servers. A load
// without any handshake that succeeded is not wrong. who is the server, as it is
// named in the errors of others.
func (a *agreement) check(who string, c combination, r *load.Result, cert *certificate) error {
	if r.Handshakes == 0 {
		return nil
	}
	if len(r.Certificates) != 1 {
		return fmt.Errorf("the client saw %d certificates, and not this server's alone", len(r.Certificates))
	}
	if got := r.Certificates[0]; got.SHA256 != cert.sha256 || got.Handshakes != r.Handshakes {
		return fmt.Errorf("%d of %d handshakes were with the certificate %s; this server's is %s", got.Handshakes, r.Handshakes, got.SHA256, cert.sha256)
	}
	what, err := c.agreed(r)
	if err != nil {
		return err
	}
	if a.who == "" {
		a.who, a.what = who, what
	}
	if what != a.what {
		return fmt.Errorf("its handshakes agreed on %s, but %s's on %s", agreedText(what), a.who, agreedText(a.what))
	}
	return nil
}

// agreed returns what the handshakes of a load agreed on, without their number.
// All must be full; or 99 % of them must be resumed: those that get the session
// are not.
func (c combination) agreed(r *load.Result) (load.Negotiated, error) {
	var of []load.Negotiated // of the kind that is wanted
	wanted, sum := int64(0), int64(0)
	for _, n := range r.Negotiated {
		sum += n.Handshakes
		if n.Resumed == c.resumed() {
			wanted += n.Handshakes
			of = append(of, n)
		}
	}
	if sum != r.Handshakes {
		return load.Negotiated{}, fmt.Errorf("the client tells of %d handshakes what they agreed on, and made %d", sum, r.Handshakes)
	}
	if c.resumed() && wanted*100 < sum*99 {
		return load.Negotiated{}, fmt.Errorf("%w: %d of %d handshakes resumed a session", errNotResumed, wanted, sum)
	}
	if !c.resumed() && wanted != sum {
		return load.Negotiated{}, fmt.Errorf("%d of %d handshakes resumed a session", sum-wanted, sum)
	}
	if len(of) != 1 {
		return load.Negotiated{}, fmt.Errorf("its handshakes agreed on %s, but also on %s", agreedText(of[0]), agreedText(of[1]))
	}
	if of[0].Version != "TLS "+c.TLS {
		return load.Negotiated{}, fmt.Errorf("its handshakes agreed on %s instead of TLS %s", of[0].Version, c.TLS)
	}
	of[0].Handshakes = 0
	return of[0], nil
}

func agreedText(n load.Negotiated) string {
	text := n.Version + ", " + n.Cipher
	if n.Curve != "" {
		text += ", " + n.Curve
	}
	if n.ALPN != "" {
		text += ", " + n.ALPN
	}
	if n.Resumed {
		text += ", resumed"
	}
	return text
}
