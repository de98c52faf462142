package main

import (
	"net/netip"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// loadCmd is "tlsdemo load".
type loadCmd struct {
	Targets []string `arg:"" name:"target" help:"A TLS server: HOST:PORT, HOST for port 443, https://HOST:PORT, or unix:PATH for a Unix socket (on Linux also unix:@NAME). Connections go to several targets, and to all addresses of a name, in turn."`

	Connections *int          `placeholder:"N" group:"load" help:"Closed loop: keep N connections going, each followed by the next (default 64). With --rate: the maximum at a time (default 10000, or what the limit of open files allows)."`
	Rate        float64       `placeholder:"R" group:"load" help:"Open loop: begin R handshakes a second, on schedule, however slow the server is. Latency counts from the time a handshake was due."`
	Arrivals    arrivals      `default:"even" placeholder:"KIND" group:"load" help:"When the handshakes of an open loop are due: even (at equal intervals), or poisson (independently of each other, at random) (default ${default})."`
	Sweep       bool          `group:"load" help:"Raise the rate from --rate (default 100) until the server no longer keeps up, and find the highest rate it can sustain (the knee). --duration is the length of each step (default 5s)."`
	SweepP99    time.Duration `name:"sweep-p99" default:"1s" placeholder:"TIME" group:"load" help:"In a sweep, the server does not keep up if p99 latency exceeds TIME (default ${default})."`
	SweepMax    float64       `placeholder:"R" group:"load" help:"The highest rate that a sweep tries (default: no limit)."`

	Duration time.Duration  `placeholder:"TIME" group:"load" help:"How long to measure (default 10s, or as long as --count takes)."`
	Count    int64          `placeholder:"N" group:"load" help:"How many handshakes to measure (default: as many as --duration allows)."`
	Warmup   *time.Duration `placeholder:"TIME" group:"load" help:"Load the server for this long before measuring (default 1s; 0s with --count)."`
	Ramp     time.Duration  `placeholder:"TIME" group:"load" help:"Before the warm-up, let the connections or the rate grow over this time (default: none)."`
	Timeout  time.Duration  `default:"10s" placeholder:"TIME" group:"load" help:"Time limit for each connection, from the dial to the end of the answer (default ${default})."`
	Patience load.Times     `placeholder:"TIME" group:"load" help:"How long a client waits, from the dial to the end of the answer, before it gives up: a time such as 2s, or a range such as 500ms-4s. In a range, each client draws its time at random, evenly distributed. With 30%:2s only that share of the clients, chosen at random, is impatient. A client that gives up closes its connection without a reset. It counts as an error of the kind \"gave up\" (default: wait until --timeout)."`
	Hold     load.Times     `placeholder:"TIME" group:"load" help:"How long a client keeps its connection open, idle, after the handshake and the answer: a time, a range or a share, as for --patience. Held connections are among --connections, and are closed at the end of the run (default: do not hold)."`
	Abort    load.Share     `placeholder:"SHARE" group:"load" help:"The share of clients, such as 10%, that disconnect at a random phase: connected, in the middle of the hello, after the hello, after the handshake, or after the request. They are counted apart (default: none)."`
	Loops    int            `default:"1" placeholder:"N" group:"load" help:"Number of event loops, each on its own thread (default ${default})."`
	Source   []netip.Addr   `placeholder:"IP" group:"load" help:"Local addresses to connect from, in turn. Each has its own ports (about 28,000 on Linux)."`
	Seed     uint64         `default:"1" placeholder:"N" group:"load" help:"Choose the random numbers: those of --arrivals poisson, --patience, --hold and --abort. The same seed gives the same ones in each run. Of machines that run together, each needs its own (default ${default})."`
	StartAt  startTime      `placeholder:"TIME" group:"load" help:"When to begin, so that several machines begin together: a time such as 2026-01-31T15:04:05Z, or a time from now such as +30s. The targets are connected to before."`
	Reset    *bool          `negatable:"" group:"load" help:"End connections with a reset, so that they do not stay in TIME_WAIT and use up the local ports (default in closed loops and sweeps)."`

	TLS        tlsVersion         `name:"tls" placeholder:"VERSION" group:"tls" help:"Offer only TLS 1.2 or 1.3 (default: both)."`
	Curve      curveName          `placeholder:"NAME" group:"tls" help:"The only key exchange to offer: X25519, P-256, P-384, P-521 or X25519MLKEM768 (default: the first four; servers choose X25519 if they support it)."`
	Cipher     cipherSuite        `placeholder:"NAME" group:"tls" help:"The only TLS 1.2 cipher suite to offer, by its standard name, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or by OpenSSL's, such as ECDHE-RSA-AES128-GCM-SHA256. Those of TLS 1.3 cannot be chosen."`
	Resume     resumeShare        `default:"none" placeholder:"SHARE" group:"tls" help:"Which handshakes resume a session with a ticket: none, tickets (all that can), or a percentage such as 80% (default ${default})."`
	ALPN       []string           `name:"alpn" placeholder:"NAME" group:"tls" help:"Application protocols to offer, such as http/1.1 or h2."`
	SNI        serverName         `name:"sni" placeholder:"NAME" group:"tls" help:"The server name to send and to verify (default: the target's host; localhost for a Unix socket). If it is empty, none is sent, and the certificate must still be for the target's host."`
	CA         string             `name:"ca" type:"existingfile" placeholder:"FILE" group:"tls" help:"Trust the certificates in this PEM file instead of the system's."`
	Insecure   bool               `short:"k" group:"tls" help:"Do not verify the server's certificate."`
	ClientCert string             `type:"existingfile" placeholder:"FILE" group:"tls" help:"Send the certificate chain in this PEM file to the server; needs --client-key."`
	ClientKey  string             `type:"existingfile" placeholder:"FILE" group:"tls" help:"PEM file with the private key of --client-cert."`
	ClientSig  signatureAlgorithm `name:"client-signature" placeholder:"NAME" group:"tls" help:"The only algorithm to sign with for --client-cert, such as rsa_pss_rsae_sha256."`
	Proxy      proxyVersion       `name:"proxy-protocol" placeholder:"VERSION" group:"tls" help:"Send a header of the PROXY protocol, v1 or v2, before the TLS handshake, with the connection's own addresses."`
	Request    string             `placeholder:"PATH" group:"tls" help:"After each handshake, request PATH with HTTP/1.1 and read the answer. Its status must be 2xx. In TLS 1.3, only an answer proves that the server has finished the handshake too."`

	Limits limits `embed:"" group:"limits"`

	dataFiles `group:"result"`
	Report    string `placeholder:"FILE" group:"result" help:"Write the result as one HTML page with plots."`
	Server    string `placeholder:"TEXT" group:"result" help:"What the server's machine is: CPU, kernel. The report shows it (default: the same machine, if the targets are loopback addresses or Unix sockets)."`
	Metrics   string `placeholder:"ADDR" group:"result" help:"While it runs, serve its figures for Prometheus at http://ADDR/metrics. Without a host, ADDR is on 127.0.0.1."`
	Quiet     bool   `short:"q" group:"result" help:"Print only errors and warnings."`
}

// Help is the second paragraph of "tlsdemo load --help".
func (*loadCmd) Help() string {
	return `Every client is a job on an event loop, so thousands of clients share a thread. Before the run, names are looked up, and one connection is made to each address. An address that fails is left out, with a warning, if another one of the same name works. Otherwise the run does not begin.

In a closed loop (the default), a slow server gets fewer requests, and few handshakes see its pauses. Use --rate to measure latency. Failures are counted by kind and have no part in the latencies.

Examples:

    tlsdemo load localhost:8443 --insecure --request /
    tlsdemo load server:443 --rate 200 --duration 1m --report run.html
    tlsdemo load server:443 --sweep --curve P-256
    tlsdemo load server:443 --tls 1.2 --resume 80% --json run.json
    tlsdemo load 10.0.0.1:443 10.0.0.2:443 --sni example.com --connections 10000

Signals: the first SIGINT, SIGTERM or SIGHUP ends the run and reports what was measured. A second one exits at once.

Exit status: 0 if all went well. 1 if a threshold is not met, if no handshake was measured, if the server did not keep up with a sweep's first rate or the sweep was stopped in that step, if not all could be written, if the run could not begin, or if a limit of this machine cut it short. 2 if the command line is wrong.`
}
