//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/bench"
)

// all is what runs without the name of a part: one part after another.
type all struct {
	options
	Install bool     `help:"Fetch what is missing of the peers with apt-get first (nginx, haproxy, wrk, openssl, a C compiler and OpenSSL's headers). Needs root."`
	Rounds  int      `placeholder:"N" help:"Rounds of every part, instead of its own default."`
	Parts   []string `enum:"jobswitch,signatures,handshakes,idle,storm,overload,requests,scaling,blocking,clients,counters,soak" default:"jobswitch,signatures,handshakes,idle,storm,requests,scaling,clients,counters" help:"What to run, of ${enum}."`
}

// part is a command that leaves a report.
type part interface {
	Run(context.Context) error
	shared() *options
}

func (o *options) shared() *options { return o }

// partKinds has the parts in the order of a whole run. A part without rounds
// has no --rounds; quick is what else makes it short among the others.
var partKinds = []struct {
	name, title string
	make        func() part
	norounds    bool
	quick       []string
}{
	{name: "jobswitch", title: "A pause and a resume", make: func() part { return new(jobSwitch) }},
	{name: "signatures", title: "Signatures", make: func() part { return new(signatures) }},
	{name: "handshakes", title: "Handshakes", make: func() part { return new(handshakes) }, quick: []string{"--key", "rsa2048", "--load", "half"}},
	{name: "idle", title: "Idle connections", make: func() part { return new(idle) }},
	{name: "storm", title: "A storm of clients", make: func() part { return new(storm) }},
	{name: "overload", title: "Overload", make: func() part { return new(overload) }},
	{name: "requests", title: "Requests", make: func() part { return new(requests) }},
	{name: "scaling", title: "Scaling", make: func() part { return new(scaling) }},
	{name: "blocking", title: "Blocking", make: func() part { return new(blocking) }},
	{name: "clients", title: "Clients", make: func() part { return new(clients) }},
	{name: "counters", title: "Counters", make: func() part { return new(counters) }, norounds: true},
	{name: "soak", title: "Soak", make: func() part { return new(soak) }, norounds: true},
}

// partTitle is the heading of a part's report.
func partTitle(name string) string {
	for _, k := range partKinds {
		if k.name == name {
			return k.title
		}
	}
	return name
}

func (a *all) Run(ctx context.Context) error {
	if a.Rounds < 0 {
		return fmt.Errorf("--rounds: %d, at least 1 is needed", a.Rounds)
	}
	if a.Install {
		if err := installMissing(ctx, thisSystem()); err != nil {
			return err
		}
	}
	if a.Out != "" { // not after an hour of measuring
		if err := os.MkdirAll(a.Out, 0o755); err != nil {
			return err
		}
	}
	out := new(outcome)
	var kept error
	for _, k := range partKinds {
		if !slices.Contains(a.Parts, k.name) {
			continue
		}
		args := a.args()
		if a.Rounds > 0 && !k.norounds {
			args = append(args, "--rounds", strconv.Itoa(a.Rounds))
		}
		if a.Quick {
			args = append(args, k.quick...)
		}
		p := k.make()
		if err := parsePart(p, args); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		out.run(ctx, k.name, p, strings.Join(append([]string{"go run ./benchmarks", k.name}, args...), " "))
		// What has been measured is kept before the next part begins.
		if err := out.keep(&a.options, out); err != nil {
			progress("%v", err)
			kept = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(out.err(ctx), kept)
}

// args are the options that all parts are given, as on the command line.
func (a *all) args() []string {
	var args []string
	if a.Quick {
		args = append(args, "--quick")
	}
	if a.ServerCPU != bench.DefaultCPU {
		args = append(args, fmt.Sprintf("--server-cpu=%d", a.ServerCPU))
	}
	if a.ClientCPU != bench.DefaultCPU {
		args = append(args, fmt.Sprintf("--client-cpu=%d", a.ClientCPU))
	}
	if a.Tlsdemo != "" {
		args = append(args, "--tlsdemo", a.Tlsdemo)
	}
	return args
}

// parsePart sets a part's fields as a command line of its own would.
func parsePart(p part, args []string) error {
	k, err := kong.New(p)
	if err != nil {
		return err
	}
	_, err = k.Parse(args)
	return err
}
