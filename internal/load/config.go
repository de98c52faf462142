package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Config says what to load, and how.
type Config struct {
	// Targets are HOST:PORT, taken in turn.
	Targets []string

	// Sources are local addresses to connect from, taken in turn; none for the
	// system's choice. One has about 28,000 ports to a target.
	Sources []netip.Addr

	// Rate is how many handshakes to begin each second, on schedule whatever
	// the server does (open loop). 0: each of Connections begins its next one
	// when the last has ended (closed loop).
	Rate float64

	// Connections is how many there are at a time in a closed loop, and the
	// most at a time in an open one. At least 1.
	Connections int

	// Duration is that of the measured part, or of each step of a sweep. 0: as
	// long as Count takes.
	Duration time.Duration

	// Count is how many handshakes to begin in the measured part, 0 for no
	// limit but Duration.
	Count int64

	// Ramp is the time over which connections, or the rate, grow to what is
	// asked for. Warmup is the time between that and the measured part.
	Ramp, Warmup time.Duration

	// Timeout bounds each connection, from its dial to the end of the answer.
	Timeout time.Duration

	// Patience is how long clients wait for the end of the answer, or of the
	// handshake if there is no request, before they leave. Zero: until Timeout.
	Patience Patience

	// Loops is how many threads there are. The connections are dealt to them.
	Loops int

	// Sweep, if not nil, raises the rate from Rate on until the server breaks.
	Sweep *SweepConfig

	TLS TLSConfig

	// Resume is the share of handshakes, 0 to 1, that resume a session if
	// there is one. Those that have none are full, and get one.
	Resume float64

	// Request is the path of an HTTP/1.1 request that follows each handshake,
	// and whose answer is part of it; empty for none.
	Request string

	// Reset ends connections with a reset: none waits in TIME_WAIT, and ports
	// last. Else they are closed with a close_notify alert.
	Reset bool

	// Progress, if not nil, is called about five times a second, on another
	// goroutine.
	Progress func(Progress)
}

// SweepConfig says when a step of a sweep has not kept up: if fewer than 98 %
// of the rate were done, more than 1 % have failed, or P99 was exceeded.
type SweepConfig struct {
	P99 time.Duration // of latency
	Max float64       // the greatest rate to try, per second; 0: no limit but the client's
}

// TLSConfig is what to ask of the server. Zero fields leave it to crypto/tls.
type TLSConfig struct {
	Version     uint16      // the only one to offer
	Curve       tls.CurveID // the only one to offer; 0: X25519, P-256, P-384 and P-521
	Cipher      uint16      // TLS 1.2 only
	ALPN        []string
	ServerName  string // empty: the target's host
	Certificate *tls.Certificate
	RootCAs     *x509.CertPool
	Insecure    bool // the certificate is not verified
}

// Curves has the names of key exchanges.
var Curves = map[string]tls.CurveID{
	"X25519":         tls.X25519,
	"P-256":          tls.CurveP256,
	"P-384":          tls.CurveP384,
	"P-521":          tls.CurveP521,
	"X25519MLKEM768": tls.X25519MLKEM768,
}

// CurveName is the name that Curves has for a key exchange, or else crypto/tls.
func CurveName(id tls.CurveID) string {
	for name, c := range Curves {
		if c == id {
			return name
		}
	}
	return id.String()
}

// Progress is what a run has done so far.
type Progress struct {
	Phase    string // "ramp", "warm-up", "measuring", "ending", "2000/s" in a sweep
	Elapsed  time.Duration
	Whole    time.Duration // of all phases, 0 if that is not known
	Rate     float64       // handshakes/s, lately
	P99      time.Duration // latency, lately
	InFlight int
	Errors   int64
}

// maxRate is more than a machine can make.
const maxRate = 1e6

// Validate returns an error that names what makes no sense.
func (c *Config) Validate() error {
	if len(c.Targets) == 0 {
		return errors.New("no target")
	}
	for _, t := range c.Targets {
		if host, port, err := net.SplitHostPort(t); err != nil || host == "" || port == "" {
			return fmt.Errorf("target %q is not HOST:PORT", t)
		}
	}
	switch {
	case c.Connections < 1:
		return fmt.Errorf("%d connections, at least 1 is needed", c.Connections)
	case c.Loops < 1:
		return fmt.Errorf("%d loops, at least 1 is needed", c.Loops)
	case c.Connections < c.Loops:
		return fmt.Errorf("%d connections cannot be dealt to %d loops", c.Connections, c.Loops)
	case !(c.Rate >= 0 && c.Rate <= maxRate): // NaN too
		return fmt.Errorf("a rate of %v a second, the greatest is %v", c.Rate, float64(maxRate))
	case c.Sweep != nil && c.Rate == 0:
		return errors.New("a sweep needs a rate to begin with")
	case c.Sweep != nil && c.Count > 0:
		return errors.New("a sweep has no count of handshakes")
	case c.Sweep != nil && c.Duration == 0:
		return errors.New("a sweep's steps need a duration")
	case c.Sweep != nil && c.Sweep.P99 <= 0:
		return fmt.Errorf("a sweep with a p99 of %v", c.Sweep.P99)
	case c.Sweep != nil && c.Sweep.Max != 0 && !(c.Sweep.Max >= c.Rate):
		return fmt.Errorf("a sweep from %v a second to at most %v", c.Rate, c.Sweep.Max)
	case c.Count < 0:
		return fmt.Errorf("a count of %d", c.Count)
	case c.Count == 0 && c.Duration <= 0:
		return errors.New("neither a duration nor a count")
	case c.Count > 0 && c.Count < int64(c.Loops):
		return fmt.Errorf("a count of %d cannot be dealt to %d loops", c.Count, c.Loops)
	case c.Ramp < 0 || c.Warmup < 0 || c.Duration < 0:
		return errors.New("a negative time")
	case c.Timeout <= 0:
		return fmt.Errorf("a timeout of %v", c.Timeout)
	case c.Patience != Patience{} && c.Patience.Min <= 0:
		return fmt.Errorf("a patience of %v", c.Patience.Min)
	case c.Patience.Max < c.Patience.Min:
		return fmt.Errorf("a patience from %v to %v, which is less", c.Patience.Min, c.Patience.Max)
	case !(c.Resume >= 0 && c.Resume <= 1):
		return fmt.Errorf("%v is not a share of handshakes to resume", c.Resume)
	case c.Request != "" && (c.Request[0] != '/' || strings.ContainsFunc(c.Request, func(r rune) bool { return r <= ' ' || r == 0x7f })):
		return fmt.Errorf("%q is not a path to request: it begins with / and has no spaces", c.Request)
	}
	return nil
}
