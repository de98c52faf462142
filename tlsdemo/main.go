// Tlsdemo shows TLS handshakes as jobs on an event loop: unmodified crypto/tls,
// with many connections at once on one thread. Without arguments it runs a demo,
// with a server and clients in one process. "tlsdemo serve" is a server for other
// clients, "tlsdemo load" is a load tester for TLS servers, and "tlsdemo report"
// makes a page of its results.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/version"
)

// cli is the command line.
type cli struct {
	Demo   demoCmd   `cmd:"" default:"withargs" help:"Run a server and clients in this process for a few seconds and print the results. This is the default command."`
	Serve  serveCmd  `cmd:"" help:"Serve HTTPS until a signal stops it."`
	Load   loadCmd   `cmd:"" help:"Load a TLS server with handshakes and measure them."`
	Report reportCmd `cmd:"" help:"Make one HTML page from results of load, and compare them."`

	Version versionFlag `help:"Print the version and exit."`
}

const description = `Shows TLS handshakes as jobs on an event loop: unmodified crypto/tls, with many
connections at once on one thread.

Examples:
  tlsdemo                                  the demo: 64 clients, RSA-2048, plain and multi-buffer signatures
  tlsdemo --key ecdsa-p256 --clients 500   the demo with another key and more clients
  tlsdemo serve                            https://127.0.0.1:8443, with a certificate made in memory
  tlsdemo serve --addr 127.0.0.1:0         on a free port, printed in the first line
  tlsdemo serve --cert c.pem --keyfile k.pem --loops 2 --metrics 127.0.0.1:9090
  tlsdemo serve --key rsa4096 --engine offload
  tlsdemo load localhost:8443 --insecure   how many handshakes a second a server does, and how fast
  tlsdemo load localhost:8443 --insecure --rate 500 --json a.json --report a.html
  tlsdemo report a.json b.json             two runs side by side

Exit status: 0 if all went well, 1 if not, 2 if the command line is wrong. It is 1 too if standard
output is closed, or its disk full, before all is written. Files that were asked for are written first.`

func main() {
	// Without this, the end of whoever reads the output would end the process, before it
	// has written its files. So a closed pipe is an error like any other.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // nobody wants to know
	con := &console{os.Stdout, os.Stderr}
	status := run(os.Args[1:], con)
	con.flush()
	os.Exit(status)
}

// run is the program; it returns the exit status.
func run(args []string, con *console) int {
	con.watch()
	parser, err := kong.New(new(cli),
		kong.Name("tlsdemo"),
		kong.Description(description),
		kong.Writers(unwatched(con.out), con.err), // the help is as wide as the terminal
		kong.Bind(con),
		kong.Help(func(options kong.HelpOptions, ctx *kong.Context) error {
			con.out.(*checkedWriter).failed(printHelp(options, ctx))
			return nil
		}),
		kong.Exit(func(int) { os.Exit(con.end(nil)) }), // after --help and --version
		kong.ExplicitGroups([]kong.Group{
			{Key: "load", Title: "Amount of load:"},
			{Key: "tls", Title: "Kind of handshakes:"},
			{Key: "limits", Title: "Thresholds (the exit status is 1 if one is not met; without --max-errors, no handshake may fail, except in a sweep):"},
			{Key: "result", Title: "Results:"},
			{Key: "merged", Title: "Results of --merge:"},
			{Key: "mergedLimits", Title: "Thresholds of --merge (the exit status is 1 if one is not met):"},
		}),
		kong.ConfigureHelp(kong.HelpOptions{NoAppDescFormat: true, WrapUpperBound: 100}),
	)
	if err != nil {
		return con.fail(err, 1)
	}
	command, err := parser.Parse(joinNegative(args))
	if err != nil {
		return con.fail(fmt.Errorf("%w (see tlsdemo --help)", err), 2)
	}
	return con.end(command.Run(con))
}

// joinNegative joins flags with values such as -5 and -1s, which would be taken for flags
// themselves, so that errors are about the value.
func joinNegative(args []string) []string {
	var joined []string
	for i, a := range args {
		if a == "--" {
			return append(joined, args[i:]...)
		}
		if last := len(joined) - 1; last >= 0 && negative.MatchString(a) && flagName.MatchString(joined[last]) {
			joined[last] += "=" + a
			continue
		}
		joined = append(joined, a)
	}
	return joined
}

var (
	flagName = regexp.MustCompile(`^--[a-z][a-z0-9-]*$`)
	negative = regexp.MustCompile(`^-(\.?[0-9]|[Ii]nf)`)
)

// versionFlag prints the version.
type versionFlag bool

func (versionFlag) BeforeReset(app *kong.Kong, con *console) error {
	fmt.Fprintln(con.out, "tlsdemo", version.String())
	app.Exit(0)
	return nil
}

// printHelp prints the help of the named command. Without one, it prints the help
// of the program and of all its commands.
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
		if _, err := fmt.Fprintln(ctx.Stdout); err != nil {
			return err
		}
		if err := kong.DefaultHelpPrinter(options, trace); err != nil {
			return err
		}
	}
	return nil
}
