package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// This file has the types of flags of "tlsdemo load" that need their own parser.

// arrivals says whether the arrivals of an open loop are a Poisson process. (A bool would
// be a flag without a value.)
type arrivals struct{ poisson bool }

func (a *arrivals) UnmarshalText(text []byte) error {
	switch string(text) {
	case "even":
		a.poisson = false
	case "poisson":
		a.poisson = true
	default:
		return fmt.Errorf("unknown arrivals %q: they are even or poisson", text)
	}
	return nil
}

func (a arrivals) String() string {
	if a.poisson {
		return "poisson"
	}
	return ""
}

// tlsVersion is 1.2 or 1.3; zero means both.
type tlsVersion uint16

func (v *tlsVersion) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1.2":
		*v = tls.VersionTLS12
	case "1.3":
		*v = tls.VersionTLS13
	default:
		return fmt.Errorf("unknown version %q: the versions are 1.2 and 1.3", text)
	}
	return nil
}

func (v tlsVersion) String() string {
	if v == 0 {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(uint16(v)), "TLS ")
}

// curveName is the only key exchange to offer; zero means the default ones.
type curveName tls.CurveID

func (c *curveName) UnmarshalText(text []byte) error {
	for name, id := range load.Curves {
		if strings.EqualFold(name, string(text)) {
			*c = curveName(id)
			return nil
		}
	}
	return fmt.Errorf("unknown key exchange %q: the key exchanges are %s", text,
		strings.Join(slices.Sorted(maps.Keys(load.Curves)), ", "))
}

func (c curveName) String() string {
	if c == 0 {
		return ""
	}
	return load.CurveName(tls.CurveID(c))
}

// proxyVersion is the version of the PROXY protocol, 1 or 2; 0 means not to use it.
type proxyVersion int

func (v *proxyVersion) UnmarshalText(text []byte) error {
	switch string(text) {
	case "v1":
		*v = 1
	case "v2":
		*v = 2
	default:
		return fmt.Errorf("unknown version %q of the PROXY protocol: the versions are v1 and v2", text)
	}
	return nil
}

func (v proxyVersion) String() string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("v%d", int(v))
}

// resumeShare is the share of handshakes that resume a session, 0 to 1.
type resumeShare float64

func (r *resumeShare) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "none":
		*r = 0
	case "tickets":
		*r = 1
	default:
		if err := (*load.Share)(r).UnmarshalText(text); err != nil {
			return fmt.Errorf("%q is neither none, nor tickets, nor a percentage such as 80%%", s)
		}
	}
	return nil
}

func (r resumeShare) String() string {
	switch r {
	case 0:
		return "none"
	case 1:
		return "tickets"
	}
	return load.Share(r).String()
}

// serverName is the name to send and to verify. The zero value leaves it to the target.
type serverName struct {
	name string
	none bool // send none
}

func (n *serverName) UnmarshalText(text []byte) error {
	notInName := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/?#@[]%", r) }
	if strings.ContainsFunc(string(text), notInName) || len(text) > 253 {
		return fmt.Errorf("%.60q is neither a host name nor an IP address without brackets and zone", text)
	}
	*n = serverName{name: string(text), none: len(text) == 0}
	return nil
}

func (n serverName) String() string {
	if n.none {
		return "(none)"
	}
	return n.name
}
