package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/report"
)

// loadCmd is "tlsdemo load".
type loadCmd struct {
	Targets []string `arg:"" name:"target" help:"HOST:PORT of a TLS server. Several are taken in turn."`

	Connections *int          `placeholder:"N" group:"load" help:"Closed loop: so many connections at a time, each followed by its next (default 64). With --rate: the most at a time (default 10000, or what the limit of open files allows)."`
	Rate        float64       `placeholder:"R" group:"load" help:"Open loop: begin R handshakes a second, on schedule whatever the server does. Latency counts from the moment a handshake was due."`
	Sweep       bool          `group:"load" help:"Raise the rate from --rate (default 100) until the server no longer keeps up, and find the knee. --duration is that of each step (default 5s)."`
	SweepP99    time.Duration `name:"sweep-p99" default:"1s" placeholder:"TIME" group:"load" help:"A step has not kept up if its p99 is greater (default ${default})."`
	SweepMax    float64       `placeholder:"R" group:"load" help:"The greatest rate to try."`

	Duration time.Duration  `placeholder:"TIME" group:"load" help:"How long to measure (default 10s, or as long as --count takes)."`
	Count    int64          `placeholder:"N" group:"load" help:"How many handshakes to measure."`
	Warmup   *time.Duration `placeholder:"TIME" group:"load" help:"Load before that which is not measured (default 1s; 0s with --count)."`
	Ramp     time.Duration  `placeholder:"TIME" group:"load" help:"Let the connections, or the rate, grow over this time first."`
	Timeout  time.Duration  `default:"10s" placeholder:"TIME" group:"load" help:"For each connection, from its dial to the end of the answer (default ${default})."`
	Patience load.Patience  `placeholder:"TIME" group:"load" help:"How long a client waits before it leaves, from its dial to the end of the answer: a time such as 2s, or a range such as 500ms-4s, of which each client's is drawn evenly, in each run alike. It then closes its connection, without a reset, and is an error of the kind \"gave up\" (default: until --timeout)."`
	Loops    int            `default:"1" placeholder:"N" group:"load" help:"Event loops, each on one thread (default ${default})."`
	Source   []netip.Addr   `placeholder:"IP" group:"load" help:"Local addresses to connect from, in turn. Each has its own ports (Linux: about 28,000)."`
	Reset    *bool          `negatable:"" group:"load" help:"End connections with a reset, so that none waits in TIME_WAIT and ports last (default in closed loops and sweeps)."`

	TLS        tlsVersion  `name:"tls" placeholder:"VERSION" group:"tls" help:"Offer only TLS 1.2 or 1.3 (default: both)."`
	Curve      curveName   `placeholder:"NAME" group:"tls" help:"The only key exchange to offer: X25519, P-256, P-384, P-521 or X25519MLKEM768 (default: the first four, of which servers take X25519 if they have it)."`
	Cipher     cipherSuite `placeholder:"NAME" group:"tls" help:"The cipher suite of TLS 1.2 to offer, by its standard name: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."`
	Resume     resumeShare `default:"none" placeholder:"SHARE" group:"tls" help:"Which handshakes resume a session by its ticket: none, tickets (all that can), or a percentage such as 80% (default ${default})."`
	ALPN       []string    `name:"alpn" placeholder:"NAME" group:"tls" help:"Application protocols to offer: http/1.1, h2."`
	SNI        string      `name:"sni" placeholder:"NAME" group:"tls" help:"The server's name, asked for and verified (default: the target's host)."`
	CA         string      `name:"ca" type:"existingfile" placeholder:"FILE" group:"tls" help:"Trust the certificates in this PEM file, and not the system's."`
	Insecure   bool        `short:"k" group:"tls" help:"Do not verify the server's certificate."`
	ClientCert string      `type:"existingfile" placeholder:"FILE" group:"tls" help:"Show the certificate chain in this PEM file; needs --client-key."`
	ClientKey  string      `type:"existingfile" placeholder:"FILE" group:"tls" help:"The private key of --client-cert, in PEM."`
	Request    string      `placeholder:"PATH" group:"tls" help:"After each handshake, ask for PATH by HTTP/1.1 and read the answer, which must have a status of 2xx. In TLS 1.3 only that proves that the server has finished the handshake too."`

	MaxErrors int64  `placeholder:"N" group:"result" help:"How many handshakes may fail before the exit status is 1 (of a sweep any number)."`
	JSON      string `name:"json" placeholder:"FILE" group:"result" help:"Write the result as JSON; - is standard output, and replaces the text."`
	Report    string `placeholder:"FILE" group:"result" help:"Write the result as one HTML page, with plots."`
	Quiet     bool   `short:"q" group:"result" help:"No text but errors and warnings."`
}

// Help is the second paragraph of "tlsdemo load --help".
func (*loadCmd) Help() string {
	return `Every client is a job on an event loop: thousands share a thread. First one connection is made to each target, so that a run does not begin that cannot succeed.

In a closed loop (the default) a slow server is asked less often, and its pauses are seen by few handshakes: use --rate to know its latency. Failures are counted by kind, and not among the latencies.

Examples:

    tlsdemo load localhost:8443 --insecure --request /
    tlsdemo load server:443 --rate 200 --duration 1m --report run.html
    tlsdemo load server:443 --sweep --curve P-256
    tlsdemo load server:443 --tls 1.2 --resume 80% --json run.json
    tlsdemo load 10.0.0.1:443 10.0.0.2:443 --sni example.com --connections 10000

Signals: the first SIGINT or SIGTERM ends the run, and what was measured is reported; a second one exits at once.

Exit status: 0 all went well, 1 handshakes failed (more than --max-errors), none was measured, a sweep's first rate was not kept up, or the run could not begin or was cut short by this machine's limits, 2 the command line makes no sense.`
}

// Validate finds what makes no sense before anything is started, and fills in
// what depends on other flags.
func (c *loadCmd) Validate() error {
	for _, t := range c.Targets {
		if network, _, err := splitAddr(t); err != nil || network != "tcp" {
			return fmt.Errorf("target %q is not HOST:PORT", t)
		}
	}
	switch {
	case c.Connections != nil && *c.Connections < 1:
		return fmt.Errorf("--connections: %d, at least 1 is needed", *c.Connections)
	case !(c.Rate >= 0) || math.IsInf(c.Rate, 1):
		return fmt.Errorf("--rate: %v is not a rate", c.Rate)
	case !(c.SweepMax >= 0) || math.IsInf(c.SweepMax, 1):
		return fmt.Errorf("--sweep-max: %v is not a rate", c.SweepMax)
	case c.SweepMax > 0 && !c.Sweep:
		return errors.New("--sweep-max is for --sweep")
	case c.SweepMax > 0 && c.SweepMax < c.Rate:
		return fmt.Errorf("--sweep-max: %v is less than --rate %v", c.SweepMax, c.Rate)
	case c.Sweep && c.Count > 0:
		return errors.New("--sweep has no --count: its steps have a --duration")
	case c.Sweep && c.Ramp > 0:
		return errors.New("--sweep has no --ramp: it is one")
	case c.Count < 0:
		return fmt.Errorf("--count: %d handshakes", c.Count)
	case c.Loops < 1:
		return fmt.Errorf("--loops: %d, at least 1 is needed", c.Loops)
	case c.Warmup != nil && *c.Warmup < 0:
		return fmt.Errorf("--warmup: %v is not a time to wait", *c.Warmup)
	case c.MaxErrors < 0:
		return fmt.Errorf("--max-errors: %d is less than none", c.MaxErrors)
	case c.Insecure && c.CA != "":
		return errors.New("--ca says what to trust, --insecure not to look: choose")
	case c.ClientCert != "" && c.ClientKey == "":
		return errors.New("--client-cert needs --client-key")
	case c.ClientKey != "" && c.ClientCert == "":
		return errors.New("--client-key needs --client-cert")
	case c.Cipher != 0 && c.TLS != tls.VersionTLS12:
		return errors.New("--cipher is for --tls 1.2: the suites of TLS 1.3 cannot be chosen")
	case tls.CurveID(c.Curve) == tls.X25519MLKEM768 && c.TLS == tls.VersionTLS12:
		return errors.New("--curve X25519MLKEM768 is for TLS 1.3")
	case c.Request != "" && slices.Contains(c.ALPN, "h2"):
		return errors.New("--request speaks HTTP/1.1: leave h2 out of --alpn")
	case c.Request != "" && c.Request[0] != '/':
		return fmt.Errorf("--request: %q does not begin with /", c.Request)
	case c.JSON == "-" && c.Report == "-":
		return errors.New("--json and --report cannot both go to standard output")
	}
	for _, t := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"duration", c.Duration, 0},
		{"ramp", c.Ramp, 0},
		{"timeout", c.Timeout, 1},
		{"sweep-p99", c.SweepP99, 1},
	} {
		if t.value < t.least {
			return fmt.Errorf("--%s: %v is not a time to wait", t.flag, t.value)
		}
	}
	cfg := c.config()
	return cfg.Validate()
}

// config returns what the flags say, without what is in files.
func (c *loadCmd) config() load.Config {
	cfg := load.Config{
		Targets: c.Targets, Sources: c.Source, Rate: c.Rate,
		Duration: c.Duration, Count: c.Count, Ramp: c.Ramp, Timeout: c.Timeout, Patience: c.Patience, Loops: c.Loops,
		TLS: load.TLSConfig{
			Version: uint16(c.TLS), Curve: tls.CurveID(c.Curve), Cipher: uint16(c.Cipher),
			ALPN: c.ALPN, ServerName: c.SNI, Insecure: c.Insecure,
		},
		Resume: float64(c.Resume), Request: c.Request,
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

// readFiles adds to a configuration what is in files.
func (c *loadCmd) readFiles(cfg *load.Config) error {
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		cfg.TLS.RootCAs = x509.NewCertPool()
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--ca: there is no certificate in %s", c.CA)
		}
	}
	if c.ClientCert != "" {
		cert, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return fmt.Errorf("--client-cert: %w", err)
		}
		cfg.TLS.Certificate = &cert
	}
	return nil
}

// Run does the run and tells of it.
func (c *loadCmd) Run(con *console, parsed *kong.Context) error {
	cfg := c.config()
	if err := c.readFiles(&cfg); err != nil {
		return err
	}
	for _, path := range []string{c.JSON, c.Report} { // not after an hour of measuring
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	if cfg.Connections <= 1000 && os.Getenv("GOGC") == "" {
		// A handshake leaves much garbage and keeps little: with few connections
		// there is memory to spend on collecting it less often.
		debug.SetGCPercent(400)
	}
	ctx, stop := interruptible(con)
	defer stop()
	progress := newLoadProgress(con.err, c.Quiet)
	cfg.Progress = progress.show
	res, err := load.Run(ctx, cfg)
	progress.end()
	if err != nil {
		return advise(err)
	}
	res.Settings = settings(parsed, cfg)
	if err := c.write(con, res); err != nil {
		return err
	}
	switch {
	case res.Sweep != nil: // that a step breaks is what it is for
		if res.Sweep.Knee == 0 && res.Stopped == "" {
			return fmt.Errorf("the first rate was not kept up: %s", res.Sweep.Limit)
		}
	case res.Errors > c.MaxErrors:
		return fmt.Errorf("%d of %d handshakes failed: %s", res.Errors, res.Handshakes+res.Errors, countKinds(res.ErrorsByKind))
	case res.Handshakes == 0:
		return errors.New("not one handshake was measured")
	}
	if res.Stopped != "" && res.Stopped != load.Interrupted {
		return fmt.Errorf("the run was cut short: %s", res.Stopped)
	}
	return nil
}

// write tells of the result in the ways that were asked for.
func (c *loadCmd) write(con *console, res *load.Result) error {
	var errs []error
	switch {
	case c.JSON == "-" || c.Report == "-":
	case !c.Quiet:
		writeLoadSummary(con.out, res)
	}
	for _, w := range res.Warnings {
		fmt.Fprintf(con.err, "tlsdemo: warning: %s\n", w)
	}
	if c.JSON != "" {
		errs = append(errs, writeFile(c.JSON, con.out, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "\t")
			return enc.Encode(res)
		}))
	}
	if c.Report != "" {
		run := report.Run{Name: strings.Join(c.Targets, " "), Result: res}
		errs = append(errs, writeFile(c.Report, con.out, func(w io.Writer) error { return report.Write(w, []report.Run{run}) }))
	}
	return errors.Join(errs...)
}

// interruptible returns a context that the first signal ends. The second one
// ends the program.
func interruptible(con *console) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(con.err, "tlsdemo: interrupted: a second signal exits at once")
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(1)
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel() }
}

// advise adds what to do about an error.
func advise(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w (is --source an address of this machine?)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (--ca FILE says what to trust, --insecure not to verify)", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w (--sni NAME says which name to ask for)", err)
	}
	return err
}

// settings says what the run was asked to do: every flag that has a value.
func settings(parsed *kong.Context, cfg load.Config) load.Settings {
	s := load.Settings{Command: "tlsdemo " + shellQuoted(parsed.Args), Flags: make(map[string]string)}
	for _, f := range parsed.Selected().Flags {
		switch f.Name {
		case "help", "json", "report", "quiet", "sweep-p99":
			continue
		}
		if v := fmt.Sprint(parsed.FlagValue(f)); v != "" && v != "false" && v != "0" && v != "0s" && v != "[]" && v != "<nil>" {
			s.Flags[f.Name] = v
		}
	}
	s.Flags["connections"] = fmt.Sprint(cfg.Connections)
	s.Flags["reset"] = fmt.Sprint(cfg.Reset)
	s.Flags["warmup"] = cfg.Warmup.String()
	if cfg.Sweep != nil {
		s.Flags["sweep-p99"] = cfg.Sweep.P99.String()
	}
	if cfg.Rate > 0 {
		s.Flags["rate"] = fmt.Sprint(cfg.Rate)
	}
	if cfg.Duration > 0 {
		s.Flags["duration"] = cfg.Duration.String()
	}
	return s
}

// shellQuoted is a command line that a shell reads as these arguments.
func shellQuoted(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=+,./:%@", r))
		}) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
