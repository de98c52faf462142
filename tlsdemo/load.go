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
	Targets []string `arg:"" name:"target" help:"HOST:PORT of a TLS server. Connections go to several targets in turn."`

	Connections *int          `placeholder:"N" group:"load" help:"Closed loop: keep N connections going, each followed by the next (default 64). With --rate: the maximum at a time (default 10000, or what the limit of open files allows)."`
	Rate        float64       `placeholder:"R" group:"load" help:"Open loop: begin R handshakes a second, on schedule, however slow the server is. Latency counts from the time a handshake was due."`
	Sweep       bool          `group:"load" help:"Raise the rate from --rate (default 100) until the server no longer keeps up, and find the highest rate it can sustain (the knee). --duration is the length of each step (default 5s)."`
	SweepP99    time.Duration `name:"sweep-p99" default:"1s" placeholder:"TIME" group:"load" help:"In a sweep, the server does not keep up if p99 latency exceeds TIME (default ${default})."`
	SweepMax    float64       `placeholder:"R" group:"load" help:"The highest rate that a sweep tries (default: no limit)."`

	Duration time.Duration  `placeholder:"TIME" group:"load" help:"How long to measure (default 10s, or as long as --count takes)."`
	Count    int64          `placeholder:"N" group:"load" help:"How many handshakes to measure (default: as many as --duration allows)."`
	Warmup   *time.Duration `placeholder:"TIME" group:"load" help:"Load the server for this long before measuring (default 1s; 0s with --count)."`
	Ramp     time.Duration  `placeholder:"TIME" group:"load" help:"Before the warm-up, let the connections or the rate grow over this time (default: none)."`
	Timeout  time.Duration  `default:"10s" placeholder:"TIME" group:"load" help:"Time limit for each connection, from the dial to the end of the answer (default ${default})."`
	Patience load.Patience  `placeholder:"TIME" group:"load" help:"How long a client waits, from the dial to the end of the answer, before it gives up: a time such as 2s, or a range such as 500ms-4s. In a range, each client draws its time at random, evenly distributed; every run draws the same times. A client that gives up closes its connection without a reset. It counts as an error of the kind \"gave up\" (default: wait until --timeout)."`
	Loops    int            `default:"1" placeholder:"N" group:"load" help:"Number of event loops, each on its own thread (default ${default})."`
	Source   []netip.Addr   `placeholder:"IP" group:"load" help:"Local addresses to connect from, in turn. Each has its own ports (about 28,000 on Linux)."`
	Reset    *bool          `negatable:"" group:"load" help:"End connections with a reset, so that they do not stay in TIME_WAIT and use up the local ports (default in closed loops and sweeps)."`

	TLS        tlsVersion  `name:"tls" placeholder:"VERSION" group:"tls" help:"Offer only TLS 1.2 or 1.3 (default: both)."`
	Curve      curveName   `placeholder:"NAME" group:"tls" help:"The only key exchange to offer: X25519, P-256, P-384, P-521 or X25519MLKEM768 (default: the first four; servers choose X25519 if they support it)."`
	Cipher     cipherSuite `placeholder:"NAME" group:"tls" help:"The only TLS 1.2 cipher suite to offer, by its standard name, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256."`
	Resume     resumeShare `default:"none" placeholder:"SHARE" group:"tls" help:"Which handshakes resume a session with a ticket: none, tickets (all that can), or a percentage such as 80% (default ${default})."`
	ALPN       []string    `name:"alpn" placeholder:"NAME" group:"tls" help:"Application protocols to offer, such as http/1.1 or h2."`
	SNI        string      `name:"sni" placeholder:"NAME" group:"tls" help:"The server name to send and to verify (default: the target's host)."`
	CA         string      `name:"ca" type:"existingfile" placeholder:"FILE" group:"tls" help:"Trust the certificates in this PEM file instead of the system's."`
	Insecure   bool        `short:"k" group:"tls" help:"Do not verify the server's certificate."`
	ClientCert string      `type:"existingfile" placeholder:"FILE" group:"tls" help:"Send the certificate chain in this PEM file to the server; needs --client-key."`
	ClientKey  string      `type:"existingfile" placeholder:"FILE" group:"tls" help:"PEM file with the private key of --client-cert."`
	Request    string      `placeholder:"PATH" group:"tls" help:"After each handshake, request PATH with HTTP/1.1 and read the answer. Its status must be 2xx. In TLS 1.3, only an answer proves that the server has finished the handshake too."`

	MaxErrors int64  `placeholder:"N" group:"result" help:"The exit status is 1 if more than N handshakes fail (default 0). Not for sweeps: there, any number may fail."`
	JSON      string `name:"json" placeholder:"FILE" group:"result" help:"Write the result as JSON. - writes it to standard output instead of the text."`
	Report    string `placeholder:"FILE" group:"result" help:"Write the result as one HTML page with plots."`
	Quiet     bool   `short:"q" group:"result" help:"Print only errors and warnings."`
}

// Help is the second paragraph of "tlsdemo load --help".
func (*loadCmd) Help() string {
	return `Every client is a job on an event loop, so thousands of clients share a thread. Before the run, one connection is made to each target. If that fails, the run does not begin.

In a closed loop (the default), a slow server gets fewer requests, and few handshakes see its pauses. Use --rate to measure latency. Failures are counted by kind and have no part in the latencies.

Examples:

    tlsdemo load localhost:8443 --insecure --request /
    tlsdemo load server:443 --rate 200 --duration 1m --report run.html
    tlsdemo load server:443 --sweep --curve P-256
    tlsdemo load server:443 --tls 1.2 --resume 80% --json run.json
    tlsdemo load 10.0.0.1:443 10.0.0.2:443 --sni example.com --connections 10000

Signals: the first SIGINT or SIGTERM ends the run and reports what was measured. A second one exits at once.

Exit status: 0 if all went well. 1 if more than --max-errors handshakes failed, if no handshake was measured, if the server did not keep up with a sweep's first rate, if the run could not begin, or if a limit of this machine cut it short. 2 if the command line is wrong.`
}

// Validate finds flags that make no sense before anything is started.
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
		return errors.New("--sweep-max needs --sweep")
	case c.SweepMax > 0 && c.SweepMax < c.Rate:
		return fmt.Errorf("--sweep-max: %v is less than --rate %v", c.SweepMax, c.Rate)
	case c.Sweep && c.Count > 0:
		return errors.New("--sweep cannot be used with --count: its steps have a --duration")
	case c.Sweep && c.Ramp > 0:
		return errors.New("--sweep cannot be used with --ramp: a sweep raises the rate itself")
	case c.Count < 0:
		return fmt.Errorf("--count: %d is negative", c.Count)
	case c.Loops < 1:
		return fmt.Errorf("--loops: %d, at least 1 is needed", c.Loops)
	case c.Warmup != nil && *c.Warmup < 0:
		return fmt.Errorf("--warmup: %v is negative", *c.Warmup)
	case c.MaxErrors < 0:
		return fmt.Errorf("--max-errors: %d is negative", c.MaxErrors)
	case c.Insecure && c.CA != "":
		return errors.New("--ca and --insecure cannot be used together: choose one")
	case c.ClientCert != "" && c.ClientKey == "":
		return errors.New("--client-cert needs --client-key")
	case c.ClientKey != "" && c.ClientCert == "":
		return errors.New("--client-key needs --client-cert")
	case c.Cipher != 0 && c.TLS != tls.VersionTLS12:
		return errors.New("--cipher needs --tls 1.2: cipher suites of TLS 1.3 cannot be chosen")
	case tls.CurveID(c.Curve) == tls.X25519MLKEM768 && c.TLS == tls.VersionTLS12:
		return errors.New("--curve X25519MLKEM768 needs TLS 1.3")
	case c.Request != "" && slices.Contains(c.ALPN, "h2"):
		return errors.New("--request uses HTTP/1.1: leave h2 out of --alpn")
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
			return fmt.Errorf("--%s: %v is too short", t.flag, t.value)
		}
	}
	cfg := c.config()
	return cfg.Validate()
}

// config returns the configuration that the flags ask for, without the contents of
// files.
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

// readFiles adds the contents of files to the configuration.
func (c *loadCmd) readFiles(cfg *load.Config) error {
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		cfg.TLS.RootCAs = x509.NewCertPool()
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("--ca: no certificate in %s", c.CA)
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

// Run does the run and reports its result.
func (c *loadCmd) Run(con *console, parsed *kong.Context) error {
	cfg := c.config()
	if err := c.readFiles(&cfg); err != nil {
		return err
	}
	for _, path := range []string{c.JSON, c.Report} { // fail now, not after an hour of measuring
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	if cfg.Connections <= 1000 && os.Getenv("GOGC") == "" {
		// A handshake makes much garbage and keeps little memory. With few
		// connections there is memory to spare, so collect garbage less often.
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
	case res.Sweep != nil: // a sweep looks for failures: they are no error
		if res.Sweep.Knee == 0 && res.Stopped == "" {
			return fmt.Errorf("the server did not keep up with the first rate: %s", res.Sweep.Limit)
		}
	case res.Errors > c.MaxErrors:
		return fmt.Errorf("%d of %d handshakes failed: %s", res.Errors, res.Handshakes+res.Errors, countKinds(res.ErrorsByKind))
	case res.Handshakes == 0:
		return errors.New("no handshake was measured")
	}
	if res.Stopped != "" && res.Stopped != load.Interrupted {
		return fmt.Errorf("the run was cut short: %s", res.Stopped)
	}
	return nil
}

// write writes the result in the forms that were asked for.
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

// interruptible returns a context that the first signal cancels. A second signal
// ends the program.
func interruptible(con *console) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		fmt.Fprintln(con.err, "tlsdemo: interrupted; a second signal exits at once")
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(1)
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel() }
}

// advise adds advice to an error.
func advise(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w (is --source an address of this machine?)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (use --ca FILE to trust its issuer, or --insecure not to verify it)", err)
	case errors.As(err, &host):
		return fmt.Errorf("%w (use --sni NAME to verify another name)", err)
	}
	return err
}

// settings returns the command and its flags, as the result records them. Flags
// without a value are left out.
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

// shellQuoted returns a command line that a shell splits into these arguments.
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
