//go:build linux

// Benchmarks measures jobloop's and gnetjobs' servers beside other servers: the
// same work, on the same core, from the same client, in alternating rounds. From
// the repository's root:
//
//	go run -C benchmarks . [flags]
//	go run -C benchmarks . SCENARIO [flags]
//
// Without a scenario, the usual ones run one after another; --help has their
// names. Every server is a process of its own, and so is the client where it
// counts. README.md says what each scenario measures and how, and has the last
// tables.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/scenario"
	"github.com/jobloop/jobloop/internal/version"
)

// commands are the command line, without the scenarios.
type commands struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
	All     scenario.All     `cmd:"" default:"withargs" help:"The scenarios one after another; what runs without a command."`

	// What runs as processes of its own.
	Serve           peer.Serve              `cmd:"" hidden:""`
	EchoClient      client.Echo             `cmd:"" hidden:""`
	GoroutineClient client.Goroutines       `cmd:"" hidden:""`
	IdleClient      client.Idle             `cmd:"" hidden:""`
	Probe           client.Probe            `cmd:"" hidden:""`
	SignatureRound  scenario.SignatureRound `cmd:"" hidden:""`
	SwitchRounds    scenario.SwitchRounds   `cmd:"" hidden:""`
}

// parser returns the parser of the whole command line.
func parser(options ...kong.Option) (*kong.Kong, error) {
	options = append(options,
		kong.Name("benchmarks"),
		kong.Description("Measures jobloop's and gnetjobs' servers beside others."),
		kong.UsageOnError(),
		kong.Vars(scenario.Vars()), kong.Vars{"version": version.String()})
	for _, e := range scenario.Entries() {
		options = append(options, kong.DynamicCommand(e.Name, e.Help, "", e.Command()))
	}
	return kong.New(new(commands), options...)
}

func main() {
	// Without this, the end of whoever reads the output would end the process, and what has
	// been measured would not be kept.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// A signal ends the servers and clients too: they are bound to the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k, err := parser(kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		panic(err) // of the structs above
	}
	run, err := k.Parse(os.Args[1:])
	k.FatalIfErrorf(err)
	err = run.Run()
	stop()
	if errors.Is(err, scenario.ErrSkipped) {
		process.Progress("%v", err)
		return
	}
	if err != nil {
		// FatalIfErrorf would take the status of a process that an error tells of.
		k.Errorf("%v", err)
		k.Exit(1)
	}
}
