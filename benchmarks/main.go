//go:build linux

// Benchmarks measures jobloop's TLS server beside other servers: the same
// work, on the same core, from the same client, in alternating rounds.
//
//	go run ./benchmarks handshakes|signatures|blocking|idle|soak|requests [flags]
//
// Every server is a process of its own, and so is the client where it counts.
// README.md says what each part measures and how, and has the last tables.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type program struct {
	Handshakes handshakes `cmd:"" help:"Full TLS 1.3 handshakes: rate, latency, server CPU each."`
	Signatures signatures `cmd:"" help:"RSA signatures: one by one and in batches, without a network."`
	Blocking   blocking   `cmd:"" help:"How long RSA handshakes keep another connection of the same loop waiting."`
	Idle       idle       `cmd:"" help:"Memory and CPU of idle TLS connections."`
	Soak       soak       `cmd:"" help:"Many clients that vanish at random moments; nothing may be left behind."`
	Requests   requests   `cmd:"" help:"HTTPS keep-alive requests per second."`

	// What the parts above run as processes of their own.
	Peer            peer            `cmd:"" hidden:""`
	HandshakeClient handshakeClient `cmd:"" hidden:""`
	IdleClient      idleClient      `cmd:"" hidden:""`
	BlockingServer  blockingServer  `cmd:"" hidden:""`
	Probe           probe           `cmd:"" hidden:""`
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
	k.FatalIfErrorf(err)
}
