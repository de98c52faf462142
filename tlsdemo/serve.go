package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// serveCmd is "tlsdemo serve".
type serveCmd struct {
	Addr  string `default:"127.0.0.1:8443" placeholder:"ADDR" help:"Where to listen: HOST:PORT, with port 0 for a free one, or unix:PATH (default ${default}). If systemd passes a socket, that is used instead."`
	Loops int    `default:"1" placeholder:"N" help:"Number of event loops, each on its own thread (default ${default})."`

	Goroutines bool `help:"Serve with a goroutine for each connection instead of event loops, to compare the two."`

	Key     keyKind `placeholder:"KIND" help:"Make a certificate in memory with a key of this kind: rsa2048, rsa3072, rsa4096, ecdsa-p256, ecdsa-p384 or ed25519 (default rsa2048)."`
	Cert    string  `placeholder:"FILE" help:"Use the certificate chain in this PEM file; needs --keyfile. SIGHUP reads both again."`
	Keyfile string  `placeholder:"FILE" help:"PEM file with the private key of --cert."`
	TLSMin  string  `name:"tls-min" default:"1.2" enum:"1.2,1.3" placeholder:"VERSION" help:"The oldest TLS version to accept, 1.2 or 1.3 (default ${default})."`

	Engine         engineKind `default:"auto" placeholder:"ENGINE" help:"How private-key operations are done: multibuffer (eight RSA signatures at a time, with AVX-512), offload (on other threads), none, or auto. auto is multibuffer for RSA keys of 2048, 3072 and 4096 bits if the CPU supports it, else none (default ${default})."`
	EngineWorkers  int        `placeholder:"N" help:"Maximum number of --engine offload operations at a time (default: the number of processors minus the number of loops, but at least 1)."`
	EngineOnWorker bool       `help:"Compute the batches of --engine multibuffer on another thread, so that the loop goes on meanwhile."`

	HandshakeTimeout time.Duration `default:"10s" placeholder:"TIME" help:"Time limit from the accept of a connection to the end of its handshake (default ${default})."`
	RequestTimeout   time.Duration `default:"10s" placeholder:"TIME" help:"Time limit from the first byte of a request to its last (default ${default})."`
	IdleTimeout      time.Duration `default:"2m" placeholder:"TIME" help:"How long an idle connection is kept open between requests (default ${default})."`
	DrainTimeout     time.Duration `default:"10s" placeholder:"TIME" help:"How long requests may take to end after SIGTERM or SIGINT (default ${default})."`
	MaxJobs          int           `default:"10000" placeholder:"N" help:"Maximum number of jobs per loop (default ${default}). At the maximum, the loop accepts no connections."`

	MaxWait            time.Duration `default:"100ms" placeholder:"TIME" help:"Under overload, reset connections that have waited this long to be served (default ${default}; negative: never)."`
	MaxConns           int           `placeholder:"N" help:"Maximum number of connections, of all loops together. Further ones are reset (default: no limit)."`
	MaxConnsPerAddress int           `placeholder:"N" help:"Maximum number of connections from one IPv4 address, or from one IPv6 /64 prefix. Further ones are reset (default: no limit)."`
	Backlog            int           `placeholder:"N" help:"Maximum number of connections that wait in the kernel to be accepted (default: the system's limit). Under overload, --max-wait lowers it by itself."`

	Metrics string `placeholder:"ADDR" help:"Serve Prometheus metrics at http://ADDR/metrics. Without a host, as in :9090, the host is 127.0.0.1."`
	Pprof   bool   `help:"Also serve profiles of the process, at /debug/pprof/ on the --metrics address."`
	Verbose bool   `help:"Log on stderr why connections end."`
}

// Help is the second paragraph of "tlsdemo serve --help".
func (*serveCmd) Help() string {
	return `Answers every request with a few lines about it: path, TLS version, cipher suite, loop and job. Connections are kept alive (HTTP/1.1). An idle one holds no job.

The first line of output says which engine does the private-key operations, and why. If the engine that --engine names cannot be used, the next best one is: offload for an RSA key, else none. A line on stderr then says so.

With --goroutines, each connection has a goroutine, as in net/http. Answers, engines, signals, timeouts and metrics are the same, except that loop and job are always 0 and there are no metrics of loops. The flags ` + loopFlagList + ` are for event loops only.

Times are numbers with a unit: 500ms, 10s, 2m.

Examples:

    tlsdemo serve --addr 127.0.0.1:0 --key ecdsa-p256
    tlsdemo serve --cert cert.pem --keyfile key.pem --tls-min 1.3
    tlsdemo serve --loops 2 --metrics :9090
    tlsdemo serve --goroutines --metrics :9090
    tlsdemo serve --key rsa4096 --engine offload --engine-workers 2
    curl -k https://127.0.0.1:8443/hello

Signals: SIGHUP reads --cert and --keyfile again and chooses the engine again. If it comes before the first line of output, they are read again after it; while the server stops, it is ignored. SIGTERM and SIGINT stop accepting, let requests end, and exit with status 0, or with 1 if --drain-timeout was too short. Before the first line of output they exit at once, with status 0. A second one exits within a second, with status 1, whatever blocks.

The server does not depend on who reads its output. If stdout or stderr is closed, or nobody reads it, lines are lost, and a line that gets through later says how many.`
}

// loopFlags are the flags that make no sense with --goroutines. --loops 1 is allowed.
var loopFlags = []string{"engine-on-worker", "max-jobs", "max-wait", "max-conns", "max-conns-per-address", "backlog"}

var loopFlagList = "--" + strings.Join(loopFlags[:len(loopFlags)-1], ", --") + " and --" + loopFlags[len(loopFlags)-1]

// Validate finds flags that make no sense before anything is started.
func (c *serveCmd) Validate(ctx *kong.Context) error {
	if _, _, err := splitAddr(c.Addr); err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	if c.Metrics != "" {
		if network, _, err := splitAddr(c.Metrics); err != nil || network != "tcp" {
			return fmt.Errorf("--metrics: %q is not HOST:PORT", c.Metrics)
		}
	}
	switch {
	case c.Loops < 1:
		return fmt.Errorf("--loops: %d, at least 1 is needed", c.Loops)
	case c.Loops > 1 && c.Goroutines:
		return errors.New("--loops and --goroutines: choose one of them")
	case c.EngineWorkers < 0:
		return fmt.Errorf("--engine-workers: %d is negative", c.EngineWorkers)
	case c.EngineWorkers > 0 && c.Engine != engineOffload && c.Engine != engineMultibuffer: // multibuffer may fall back to offload
		return fmt.Errorf("--engine-workers needs --engine offload, not %s", c.Engine)
	case c.EngineOnWorker && c.Engine != engineAuto && c.Engine != engineMultibuffer:
		return fmt.Errorf("--engine-on-worker needs --engine multibuffer, not %s", c.Engine)
	case c.Backlog < 0:
		return fmt.Errorf("--backlog: %d is negative", c.Backlog)
	case c.MaxWait == 0:
		return errors.New("--max-wait: 0s is too short; a negative time means no limit")
	case c.MaxConns < 0:
		return fmt.Errorf("--max-conns: %d is negative", c.MaxConns)
	case c.MaxConnsPerAddress < 0:
		return fmt.Errorf("--max-conns-per-address: %d is negative", c.MaxConnsPerAddress)
	case c.MaxJobs < 1:
		return fmt.Errorf("--max-jobs: %d, at least 1 is needed", c.MaxJobs)
	case c.Cert != "" && c.Keyfile == "":
		return errors.New("--cert needs --keyfile")
	case c.Keyfile != "" && c.Cert == "":
		return errors.New("--keyfile needs --cert")
	case c.Key != "" && c.Cert != "":
		return errors.New("--key makes a certificate and --cert reads one: choose one of them")
	case c.Pprof && c.Metrics == "":
		return errors.New("--pprof needs --metrics")
	}
	for _, given := range ctx.Path {
		if c.Goroutines && given.Flag != nil && slices.Contains(loopFlags, given.Flag.Name) {
			return fmt.Errorf("--%s is for event loops and cannot be used with --goroutines", given.Flag.Name)
		}
	}
	for _, t := range []struct {
		flag  string
		value time.Duration
	}{
		{"handshake-timeout", c.HandshakeTimeout},
		{"request-timeout", c.RequestTimeout},
		{"idle-timeout", c.IdleTimeout},
		{"drain-timeout", c.DrainTimeout},
	} {
		if t.value <= 0 {
			return fmt.Errorf("--%s: %v is not a positive time", t.flag, t.value)
		}
	}
	return nil
}

func (c *serveCmd) tlsMin() uint16 {
	if c.TLSMin == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// loops is how many event loops there are.
func (c *serveCmd) loops() int {
	if c.Goroutines {
		return 0
	}
	return c.Loops
}
