package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// demoCmd is "tlsdemo" without arguments.
type demoCmd struct {
	Duration   time.Duration `default:"2s" placeholder:"TIME" help:"How long each run lasts: 500ms, 10s, 1m (default ${default})."`
	Handshakes int64         `default:"0" placeholder:"N" help:"Stop each run after N handshakes (default: no limit)."`
	Clients    int           `default:"64" placeholder:"N" help:"Number of clients that connect at the same time (default ${default})."`
	Key        keyKind       `default:"rsa2048" placeholder:"KIND" help:"The server's key: rsa2048, rsa3072, rsa4096, ecdsa-p256, ecdsa-p384 or ed25519 (default ${default})."`
	Engine     engineKind    `default:"auto" placeholder:"ENGINE" help:"The engine to compare with plain signatures: multibuffer (computes eight RSA signatures at a time), offload (computes signatures on other threads), none, or auto. auto is multibuffer if the key and the CPU allow it, else none (default ${default})."`
}

// Help is the second paragraph of "tlsdemo demo --help".
func (*demoCmd) Help() string {
	return `The demo makes a certificate in memory and serves TLS on a free port of 127.0.0.1, with one event loop on one thread. Ordinary TLS clients in the same process connect to it, half with TLS 1.3 and half with TLS 1.2. Every client verifies the certificate and the answer.

There are up to two runs, of --duration each. The first has plain signatures. The second has an engine. The default engine computes the signatures of eight handshakes together. It needs an RSA key and a CPU with AVX-512 IFMA; without these, there is only the first run.

Latency is what the clients see: the time from the dial to the end of the handshake, including the wait for other handshakes. The server finishes handshakes in progress before it begins new ones, so there may be fewer jobs in flight than clients. The loop's CPU is the CPU time of the loop's thread per handshake, with its request and answer. The clients' CPU time is not part of it. The clients share the machine's cores with the server, so they may limit the rate. If other programs use the cores too, a sentence under the table says that the latencies mean little (on Linux).

Examples:

    tlsdemo
    tlsdemo --duration 10s --clients 500
    tlsdemo --key rsa4096 --engine offload
    tlsdemo --key ecdsa-p256 --handshakes 10000 --duration 1m

Exit status: 0 if every handshake succeeded, 1 if not.`
}

// Validate finds flags that make no sense before anything is started.
func (c *demoCmd) Validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("--duration: %v is not a positive time", c.Duration)
	case c.Clients < 1:
		return fmt.Errorf("--clients: %d, at least 1 is needed", c.Clients)
	case c.Handshakes < 0:
		return fmt.Errorf("--handshakes: %d is negative", c.Handshakes)
	}
	return nil
}

// Run runs the demo. It returns nil only if every handshake succeeded.
func (c *demoCmd) Run(con *console) error {
	cert, err := newCertificate(c.Key)
	if err != nil {
		return err
	}
	engines, err := newEngines(engineOptions{kind: c.Engine, loops: 1})
	if err != nil {
		return err
	}
	withEngine, choice, err := engines.take(cert)
	if err != nil {
		return err
	}
	warnEngine(con, c.Engine, choice)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	runs := []*demoRun{{name: "plain", cert: cert, engine: engineNone}}
	if choice.engine != engineNone {
		runs = append(runs, &demoRun{name: string(choice.engine), cert: withEngine, engine: choice.engine, engines: engines})
	}

	fmt.Fprintf(con.out, "TLS server on 127.0.0.1: one event loop on one thread, key %s\n", c.Key)
	if len(runs) > 1 {
		fmt.Fprintf(con.out, "%d clients at once, TLS 1.3 and 1.2 in turn, for %v each way:\nplain signatures, then engine %v\n", c.Clients, c.Duration, choice)
	} else {
		fmt.Fprintf(con.out, "%d clients at once, TLS 1.3 and 1.2 in turn, for %v\nplain signatures only, engine %v\n", c.Clients, c.Duration, choice)
	}
	var done []*demoRun
	for _, r := range runs {
		if err := r.run(ctx, con, c); err != nil {
			return err
		}
		done = append(done, r)
		if ctx.Err() != nil {
			break // interrupted
		}
	}
	return summarize(con, done)
}
