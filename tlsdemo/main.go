// Tlsdemo shows TLS handshakes as jobs on an event loop: crypto/tls as it is,
// many connections at once, one thread. Without arguments it is a demo that
// runs by itself; "tlsdemo serve" is a server to try other clients on, "tlsdemo load"
// a load tester for TLS servers.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/version"
	"github.com/jobloop/jobloop/loop"
)

// cli is the command line.
type cli struct {
	Demo   demoCmd   `cmd:"" default:"withargs" help:"Run a server and clients in this process for a few seconds and print what happened. This is the default command."`
	Serve  serveCmd  `cmd:"" help:"Serve HTTPS until told to stop."`
	Load   loadCmd   `cmd:"" help:"Load a TLS server with handshakes, and measure them."`
	Report reportCmd `cmd:"" help:"Make one HTML page of results of load, and compare them."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

const description = `Shows TLS handshakes as jobs on an event loop: crypto/tls as it is, many
connections at once, one thread.

Examples:
  tlsdemo                                  the demo: 64 clients, RSA-2048, plain and multi-buffer signatures
  tlsdemo --key ecdsa-p256 --clients 500   the demo with another key, more clients
  tlsdemo serve                            https://127.0.0.1:8443, certificate made in memory
  tlsdemo serve --addr 127.0.0.1:0         on a free port, which the first line tells
  tlsdemo serve --cert c.pem --keyfile k.pem --loops 2 --metrics 127.0.0.1:9090
  tlsdemo serve --key rsa4096 --engine offload
  tlsdemo load localhost:8443 --insecure   how many handshakes a second a server makes, and how fast
  tlsdemo load localhost:8443 --insecure --rate 500 --json a.json --report a.html
  tlsdemo report a.json b.json             two runs beside each other

Exit status: 0 all went well, 1 it did not, 2 the command line makes no sense.`

// console is where a command writes: out is for what was asked for, err for
// what went wrong.
type console struct {
	out, err io.Writer
}

func main() { os.Exit(run(os.Args[1:], &console{os.Stdout, os.Stderr})) }

// run is the program; it returns the exit status.
func run(args []string, con *console) int {
	parser, err := kong.New(new(cli),
		kong.Name("tlsdemo"),
		kong.Description(description),
		kong.Vars{"version": "tlsdemo " + version.String()},
		kong.Writers(con.out, con.err),
		kong.Help(printHelp),
		kong.ExplicitGroups([]kong.Group{
			{Key: "load", Title: "How much:"},
			{Key: "tls", Title: "Of what:"},
			{Key: "result", Title: "What comes out:"},
		}),
		kong.ConfigureHelp(kong.HelpOptions{NoAppDescFormat: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return con.fail(err, 1)
	}
	command, err := parser.Parse(args)
	if err != nil {
		return con.fail(fmt.Errorf("%w (tlsdemo --help tells more)", err), 2)
	}
	if err := command.Run(con); err != nil {
		return con.fail(err, 1)
	}
	return 0
}

// fail prints the one line that says why there is an exit status.
func (con *console) fail(err error, status int) int {
	if errors.Is(err, loop.ErrUnsupported) {
		err = fmt.Errorf("the event loop does not run on %s: it needs epoll or kqueue", runtime.GOOS)
	}
	fmt.Fprintf(con.err, "tlsdemo: %v\n", err)
	return status
}

// printHelp prints the help of the command that was named, or else of the
// program and all its commands.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	err := kong.DefaultHelpPrinter(options, ctx)
	if err != nil || ctx.Selected() != nil {
		return err
	}
	for _, command := range ctx.Model.Children {
		trace, err := kong.Trace(ctx.Kong, []string{command.Name})
		if err != nil {
			return err
		}
		fmt.Fprintln(ctx.Stdout)
		if err := kong.DefaultHelpPrinter(options, trace); err != nil {
			return err
		}
	}
	return nil
}
