//go:build linux

// Benchmarks measures a gnet server with TLS by gnetjobs beside the server it
// replaces, a goroutine for each connection that blocks in crypto/tls, and
// beside gnet without TLS, which is the floor:
//
//	go run . [PART...] [flags]
//
// The parts are throughput, messages, handshakes and idle; without a name, one
// runs after another. Every server is a process of its own on one core, and so
// is the client on another. Rounds alternate between the servers, each with a
// fresh process, and the tables have medians with the least and the greatest.
// The servers on gnet have one event loop, and all run with GOMAXPROCS=1.
//
// Whether a server or the client was the limit of a rate can be seen in how
// busy they were; the server's CPU time for a unit of work tells them apart in
// either case.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type program struct {
	Measure measure `cmd:"" default:"withargs" help:"Measure; what runs without a command."`

	// What is run as processes of their own.
	Server          serverProcess   `cmd:"" hidden:""`
	EchoClient      echoClient      `cmd:"" hidden:""`
	HandshakeClient handshakeClient `cmd:"" hidden:""`
	IdleClient      idleClient      `cmd:"" hidden:""`
}

func main() {
	// A signal ends the servers and clients too: they are bound to the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k := kong.Parse(&program{},
		kong.Name("benchmarks"),
		kong.Description("Measures TLS for gnet by gnetjobs beside goroutines with crypto/tls, and gnet without TLS."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := k.Run()
	stop()
	if err != nil {
		// FatalIfErrorf would take the status of a process that an error tells of.
		k.Errorf("%v", err)
		k.Exit(1)
	}
}
