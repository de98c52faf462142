//go:build linux

// Benchmarks measures jobloop's TLS server beside other servers: the same
// work, on the same core, from the same client, in alternating rounds.
//
//	go run ./benchmarks [flags]
//	go run ./benchmarks PART [flags]
//
// Without a part, one runs after another; --help tells their names.
// Every server is a process of its own, and so is the client where it counts.
// README.md says what each part measures and how, and has the last tables.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type program struct {
	All        all        `cmd:"" default:"withargs" help:"The parts one after another; what runs without a command."`
	Jobswitch  jobSwitch  `cmd:"" help:"A pause and a resume, and a job's start and end: also with OpenSSL, channels, iter.Pull."`
	Signatures signatures `cmd:"" help:"RSA signatures: one by one and in batches, without a network."`
	Handshakes handshakes `cmd:"" help:"TLS handshakes: rate, latency, server CPU each."`
	Idle       idle       `cmd:"" help:"Memory and CPU of idle TLS connections."`
	Storm      storm      `cmd:"" help:"Memory and time when many clients come at once."`
	Overload   overload   `cmd:"" help:"More clients than a server can serve, who leave when their patience is up."`
	Requests   requests   `cmd:"" help:"HTTPS keep-alive requests per second."`
	Scaling    scaling    `cmd:"" help:"A handshake's cost with 1 to 10,000 connections at a time, and with a second loop."`
	Blocking   blocking   `cmd:"" help:"How long RSA handshakes keep another connection of the same loop waiting."`
	Clients    clients    `cmd:"" help:"The CPU time in which clients make a handshake: tlsdemo load, crypto/tls with goroutines, openssl s_time."`
	Counters   counters   `cmd:"" help:"What the client counts, beside what the servers count; both must be the same."`
	Soak       soak       `cmd:"" help:"Many clients that vanish at random moments; nothing may be left behind."`

	// What the parts above run as processes of their own.
	Peer            peer            `cmd:"" hidden:""`
	HandshakeClient handshakeClient `cmd:"" hidden:""`
	GoroutineClient goroutineClient `cmd:"" hidden:""`
	IdleClient      idleClient      `cmd:"" hidden:""`
	BlockingServer  blockingServer  `cmd:"" hidden:""`
	Probe           probe           `cmd:"" hidden:""`
	RequestProbe    requestProbe    `cmd:"" hidden:""`
	SignatureRound  signatureRound  `cmd:"" hidden:""`
}

func main() {
	// A signal ends the servers and clients too: they are bound to the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k := kong.Parse(&program{},
		kong.Name("benchmarks"),
		kong.Description("Measures jobloop's TLS server beside others."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := k.Run()
	stop()
	if errors.Is(err, errSkipped) {
		progress("%v", err)
		return
	}
	if err != nil {
		// FatalIfErrorf would take the status of a process that an error tells of.
		k.Errorf("%v", err)
		k.Exit(1)
	}
}
