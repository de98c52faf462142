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
	Duration   time.Duration `default:"2s" placeholder:"TIME" help:"How long clients connect, each way: 500ms, 10s, 1m (default ${default})."`
	Handshakes int64         `default:"0" placeholder:"N" help:"Stop after so many handshakes, each way (default: no limit)."`
	Clients    int           `default:"64" placeholder:"N" help:"Clients that connect at the same time (default ${default})."`
	Key        keyKind       `default:"rsa2048" placeholder:"KIND" help:"The server's key: rsa2048, rsa3072, rsa4096, ecdsa-p256, ecdsa-p384 or ed25519 (default ${default})."`
	Engine     engineKind    `default:"auto" placeholder:"ENGINE" help:"What to show beside plain signatures: multibuffer (eight RSA signatures at a time), offload (on other threads), none, or auto: multibuffer where the key and the CPU allow it (default ${default})."`
}

// Help is the second paragraph of "tlsdemo demo --help".
func (*demoCmd) Help() string {
	return `Makes a certificate in memory, serves TLS on a free port of 127.0.0.1 with one event loop on one thread, and drives it with ordinary TLS clients in the same process, half of them TLS 1.3, half TLS 1.2: for two seconds with plain signatures, and then, if the key is RSA and the CPU has AVX-512 IFMA, for two with an engine that computes the signatures of eight handshakes together. Every client verifies the certificate and the answer. Latencies are the clients': from the dial to the end of the handshake, with all the others before and beside it. Handshakes in progress come before new connections, so there may be fewer jobs in flight than clients. The loop's CPU is the time its thread has used, for a handshake with its request and answer; the clients take theirs beside it, and may be what limits the rate.

Examples:

    tlsdemo
    tlsdemo --duration 10s --clients 500
    tlsdemo --key rsa4096 --engine offload
    tlsdemo --key ecdsa-p256 --handshakes 10000 --duration 1m

Exit status: 0 if every handshake worked, 1 if not.`
}

// Validate finds what makes no sense before anything is started.
func (c *demoCmd) Validate() error {
	switch {
	case c.Duration <= 0:
		return fmt.Errorf("--duration: %v is not a time to run", c.Duration)
	case c.Clients < 1:
		return fmt.Errorf("--clients: %d, at least 1 is needed", c.Clients)
	case c.Handshakes < 0:
		return fmt.Errorf("--handshakes: %d is less than none", c.Handshakes)
	}
	return nil
}

// Run runs the demo. Its error is nil only if every handshake worked.
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
			break // enough was seen
		}
	}
	return summarize(con, done)
}
