package load

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config says what to load and how.
type Config struct {
	// Targets are the servers, as HOST:PORT, unix:PATH or, on Linux, unix:@NAME.
	// Connections go in turn to all addresses of all targets. Names are looked up
	// once, before the run.
	Targets []string

	// Resolver looks up the targets' names. Nil means net.DefaultResolver.
	Resolver Resolver

	// Sources are the local addresses to connect from, in turn. With none, the
	// system chooses. Each has about 28,000 ports per address of a target. Those
	// of the other family, IPv4 or IPv6, are not used for an address.
	Sources []netip.Addr

	// Rate is how many handshakes to begin each second, on schedule, however
	// slow the server is (open loop). If it is 0, each of Connections begins its
	// next handshake when the last has ended (closed loop).
	Rate float64

	// Poisson makes the handshakes of an open loop due at random, independently of
	// each other, and Rate their average. The same Seed draws the same times.
	// Otherwise they are due at even intervals.
	Poisson bool

	// Seed chooses the random numbers of a run. The same seed gives the same ones in the
	// same order. Runs that go on at the same time should have different seeds, or their
	// handshakes are due at the same moments, even with equal intervals.
	Seed uint64

	// Connections is the number of connections at a time in a closed loop, and
	// the maximum in an open loop. It is at least 1.
	Connections int

	// Duration is the length of the measured part, or of each step of a sweep. If
	// it is 0, the measured part lasts until Count handshakes are done.
	Duration time.Duration

	// Count is how many handshakes to begin in the measured part. If it is 0, only
	// Duration ends that.
	Count int64

	// StartAt is when the ramp begins, or what comes first. If it is zero, that is at
	// once. The targets are connected to before. If that takes until after StartAt, the
	// run does not begin: it would not be simultaneous with others.
	StartAt time.Time

	// Ramp is the time in which the number of connections or the rate grows to
	// its full value. Warmup is the time between that and the measured part.
	Ramp, Warmup time.Duration

	// Timeout limits each connection, from the dial to the end of the answer.
	Timeout time.Duration

	// Patience is how long clients wait before they give up. The time counts from
	// when the client begins to connect, and includes its handshake and request.
	// The others, or all if it is zero, wait until Timeout.
	//
	// A client that gives up closes its connection as a browser does (FIN), even
	// if Reset is set. It does not wait for the server to close. It counts as an
	// error of its own kind, "gave up". If its patience is longer than Timeout,
	// the timeout ends it, and it counts as a "timeout". In an open loop where all
	// clients are impatient, one that has not begun within Patience.Max after it
	// was due does not begin at all. The probes before a run do not give up.
	Patience Times

	// Hold is how long clients keep their connections open and idle after the
	// handshake and the answer, before they close them. That is no part of the
	// latency. What the server sends meanwhile is dropped. Held connections are
	// among Connections. At the end of the measured part they are closed.
	Hold Times

	// Abort is the share of clients that disconnect at a random phase: connected,
	// in the middle of the hello, after the hello, after the handshake, and, if
	// there is a request, after the request. They are neither errors nor
	// successes, and are not held. One that fails or gives up before its phase
	// counts as that.
	Abort Share

	// Loops is the number of event loops, each on its own thread. The connections
	// are divided among them.
	Loops int

	// Sweep, if not nil, raises the rate, beginning with Rate, until the server
	// no longer keeps up.
	Sweep *SweepConfig

	TLS TLSConfig

	// Resume is the share of handshakes, 0 to 1, that resume a session. If there
	// is no session yet, the handshake is full, and gets one.
	Resume float64

	// Request is the path of an HTTP/1.1 request that follows each handshake.
	// Its answer then counts as part of the handshake. Empty means no request.
	Request string

	// ProxyProtocol is the version of the PROXY protocol, 1 or 2, whose header goes
	// before the TLS handshake. It has the connection's own addresses. 0 means none.
	ProxyProtocol int

	// Reset ends connections with a reset, so that they do not stay in TIME_WAIT
	// and use up the local ports. Without it, they are closed with a
	// close_notify alert.
	Reset bool

	// OnEnd, if not nil, is called when a connection of the ramp, the warm-up or the
	// measured part has succeeded, failed or been aborted by its client, and for each
	// handshake that was due and never began. It is called on the loops' goroutines and
	// must not wait.
	OnEnd func(End)

	// Progress, if not nil, is called about five times a second, on another
	// goroutine than Run's.
	Progress func(Progress)
}

// SweepConfig is for sweeps. In a step, the server keeps up if it does at least
// 98 % of the rate, at most 1 % of handshakes fail, and the 99th percentile of
// latency is at most P99.
type SweepConfig struct {
	P99 time.Duration
	Max float64 // the highest rate to try, per second; 0: no limit
}

// TLSConfig says what to offer to the server. Zero fields leave the choice to
// crypto/tls.
type TLSConfig struct {
	Version     uint16      // the only one to offer
	Curve       tls.CurveID // the only one to offer; 0: X25519, P-256, P-384 and P-521
	Cipher      uint16      // TLS 1.2 only
	ALPN        []string
	ServerName  string // empty: the target's host, "localhost" for a Unix socket
	Certificate *tls.Certificate
	RootCAs     *x509.CertPool
	Insecure    bool // do not verify the certificate

	// NoServerName leaves the server name out of the handshake. The certificate is still
	// verified for it.
	NoServerName bool
}

// Curves are the key exchanges that can be offered, by name.
var Curves = map[string]tls.CurveID{
	"X25519":         tls.X25519,
	"P-256":          tls.CurveP256,
	"P-384":          tls.CurveP384,
	"P-521":          tls.CurveP521,
	"X25519MLKEM768": tls.X25519MLKEM768,
}

// CurveName returns the name of a key exchange in Curves, or else crypto/tls's name.
func CurveName(id tls.CurveID) string {
	for name, c := range Curves {
		if c == id {
			return name
		}
	}
	return id.String()
}

// End is how a connection ended.
type End struct {
	Target  string        // as in Config.Targets; empty if it never began
	Address string        // that it went to, as in Target.Address
	Latency time.Duration // from when it was due to its end; of handshakes that succeeded
	Kind    string        // of the error, as in Result.ErrorsByKind; empty if it did not fail
	Aborted string        // where the client aborted, as in Result.Aborted; empty if it did not
}

// Progress says how far a run has come.
type Progress struct {
	Phase    string // "waiting" for Config.StartAt, "ramp", "warm-up", "measuring", "ending", "2000/s" in a sweep
	Elapsed  time.Duration
	Whole    time.Duration // of all phases; 0 if not known
	Rate     float64       // handshakes/s in the last second
	P99      time.Duration // of latency in the last second
	InFlight int
	Errors   int64
}

// maxLoops is more threads than a machine has use for.
const maxLoops = 1024

// maxRate is more than one machine can do.
const maxRate = 1e6

// Validate returns an error that names a setting that makes no sense.
func (c *Config) Validate() error {
	if len(c.Targets) == 0 {
		return errors.New("no target")
	}
	for _, t := range c.Targets {
		if _, err := parseTarget(t); err != nil {
			return err
		}
	}
	switch {
	case c.Connections < 1:
		return fmt.Errorf("%d connections, at least 1 is needed", c.Connections)
	case c.Loops < 1:
		return fmt.Errorf("%d loops, at least 1 is needed", c.Loops)
	case c.Loops > maxLoops:
		return fmt.Errorf("%d loops, the most are %d: a loop needs a core", c.Loops, maxLoops)
	case c.Connections < c.Loops:
		return fmt.Errorf("%d connections cannot be divided among %d loops", c.Connections, c.Loops)
	case !(c.Rate >= 0 && c.Rate <= maxRate): // NaN too
		return fmt.Errorf("a rate of %v a second; the highest is %v", c.Rate, float64(maxRate))
	case c.Poisson && c.Rate == 0:
		return errors.New("arrivals at random need a rate")
	case c.Sweep != nil && c.Rate == 0:
		return errors.New("a sweep needs a rate to begin with")
	case c.Sweep != nil && c.Count > 0:
		return errors.New("a sweep has no count of handshakes")
	case c.Sweep != nil && c.Duration == 0:
		return errors.New("a sweep's steps need a duration")
	case c.Sweep != nil && c.Sweep.P99 <= 0:
		return fmt.Errorf("a sweep with a p99 limit of %v", c.Sweep.P99)
	case c.Sweep != nil && c.Sweep.Max != 0 && !(c.Sweep.Max >= c.Rate):
		return fmt.Errorf("a sweep from %v a second to at most %v", c.Rate, c.Sweep.Max)
	case c.Sweep != nil && c.Abort == 1:
		return errors.New("a sweep in which all clients abort measures no handshake")
	case c.Sweep != nil && c.Rate*c.Duration.Seconds() < 1:
		return fmt.Errorf("a sweep from %v a second has no handshake in a step of %v", c.Rate, c.Duration)
	case c.Count < 0:
		return fmt.Errorf("a count of %d", c.Count)
	case c.Count == 0 && c.Duration <= 0:
		return errors.New("a duration or a count is needed")
	case c.Count > 0 && c.Count < int64(c.Loops):
		return fmt.Errorf("a count of %d cannot be divided among %d loops", c.Count, c.Loops)
	case c.Ramp < 0 || c.Warmup < 0 || c.Duration < 0:
		return errors.New("a negative time")
	case max(c.Ramp, c.Warmup, c.Duration) > farAway:
		return fmt.Errorf("a ramp, a warm-up or a duration of %v: a year is the most", max(c.Ramp, c.Warmup, c.Duration))
	case slices.ContainsFunc(c.TLS.ALPN, func(name string) bool { return name == "" || len(name) > 255 }):
		return errors.New("a protocol (ALPN) without a name, or with one of more than 255 bytes")
	case c.Timeout <= 0:
		return fmt.Errorf("a timeout of %v", c.Timeout)
	case c.ProxyProtocol < 0 || c.ProxyProtocol > 2:
		return fmt.Errorf("version %d of the PROXY protocol: there are 1 and 2", c.ProxyProtocol)
	case !c.Abort.valid():
		return fmt.Errorf("%v is not a share of clients that abort", float64(c.Abort))
	case !(c.Resume >= 0 && c.Resume <= 1):
		return fmt.Errorf("%v is not a share of handshakes to resume", c.Resume)
	case c.Request != "" && (c.Request[0] != '/' || strings.ContainsFunc(c.Request, func(r rune) bool { return r <= ' ' || r == 0x7f })):
		return fmt.Errorf("%q is not a path to request: a path begins with / and has no spaces", c.Request)
	}
	return cmp.Or(c.Patience.check("patience"), c.Hold.check("hold"))
}
