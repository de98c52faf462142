//go:build linux

package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "clients", Title: "Clients", Help: "The CPU time in which clients make a handshake: tlsdemo load, crypto/tls with goroutines, openssl s_time.",
		New: func() Scenario { return new(clients) }, Loads: true, Usual: true,
	})
}

// clients measures the clients and not the servers: the CPU time in which "tlsdemo
// load" and others make a full handshake.
type clients struct {
	Key         string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The server's key: ${enum}."`
	Connections int           `default:"64" min:"1" help:"Connections at a time of each client (openssl s_time has one)."`
	Rounds      int           `default:"5" min:"1" help:"Rounds; in each, every client is measured once."`
	Duration    time.Duration `default:"5s" min:"1ns" help:"How long a client runs in a round (openssl s_time at least 1s)."`
}

// clientResult is what one client did in one round.
type clientResult struct {
	Handshakes int64         `json:"handshakes"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	CPU        time.Duration `json:"cpu_ns"` // of the process, from its start to its end
}

var clientColumns = []report.Column[*clientResult]{
	{Name: "client CPU, µs each", Of: func(r *clientResult) float64 { return float64(r.CPU.Nanoseconds()) / 1e3 / float64(r.Handshakes) }},
	{Name: "handshakes/s", Of: func(r *clientResult) float64 { return float64(r.Handshakes) / r.Elapsed.Seconds() }, Higher: true},
}

// testedClient is a client under measurement: its command, the key exchange that
// its handshakes must have agreed on, and how to read what it prints. Without a
// key exchange, it does not print what they agreed on.
type testedClient struct {
	name    string
	command []string
	curve   string
	read    func(out []byte) (*load.Result, error)
}

// Name is for the rounds.
func (t testedClient) Name() string { return t.name }

func (c *clients) quick() { c.Rounds, c.Duration = 1, time.Second }

func (c *clients) measure(ctx context.Context, r *run) error {
	const server = "goroutines"
	peers, err := r.peers([]string{server}, c.Key)
	if err != nil {
		return err
	}
	return r.with(ctx, peers[0], c.Key, peer.Options{}, func(s *peer.Server) error {
		all, err := c.all(r, s.Addr)
		if err != nil {
			return err
		}
		same := make(map[string]*client.Agreement) // by key exchange
		for _, t := range all {
			same[t.curve] = new(client.Agreement)
		}
		results, failed := collect(ctx, c.Rounds, all, func(t testedClient) (*clientResult, error) {
			return c.one(ctx, r.ClientCPU, t, s.Cert.SHA256, same[t.curve])
		})
		if len(results) == 0 {
			return failed
		}
		r.Results = results
		r.Add(clientTable(namesOf(all), results))
		r.Notef("Full TLS 1.3 handshakes with one server (%s, %s) on the other core, %s of %v for each client in turn: median (least–greatest).", server, c.Key, roundsText(c.Rounds), c.Duration)
		r.Note("The CPU time is that of the whole process, its start included, with GOMAXPROCS=1 on one core. None verifies the certificate. openssl s_time has one connection at a time and offers what OpenSSL does: X25519's key share.",
			"The difference between the rows is mostly the key share: X25519MLKEM768 is what crypto/tls offers by itself. tlsdemo load also sets GOGC=400 by itself (up to 1,000 connections); the goroutines run with Go's default, 100.")
		return failed
	})
}

// Names of clients in the tables. The first is compared with the others; those
// after a comma offer another key exchange.
const (
	clientLoad       = "tlsdemo load"
	clientHybridLoad = "tlsdemo load, X25519MLKEM768"
	clientGo         = "crypto/tls with goroutines, X25519"
	clientDefaultGo  = "crypto/tls with goroutines, as it is (X25519MLKEM768)"
	clientSTime      = "openssl s_time"
)

// all returns the clients that can run here, and notes why another cannot.
func (c *clients) all(r *run, addr string) ([]testedClient, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n, d := strconv.Itoa(c.Connections), c.Duration.String()
	loaded := []string{r.client.Program, "load", addr, "--insecure", "--tls", "1.3", "--connections", n, "--duration", d, "--warmup", "0s", "--quiet", "--json", "-", "--curve"}
	goroutines := []string{self, "goroutine-client", addr, "--connections", n, "--duration", d, "--curve"}
	can := []testedClient{
		{clientLoad, append(slices.Clone(loaded), "X25519"), "X25519", readResult},
		{clientGo, append(slices.Clone(goroutines), "X25519"), "X25519", readResult},
		{clientHybridLoad, append(slices.Clone(loaded), "X25519MLKEM768"), "X25519MLKEM768", readResult},
		{clientDefaultGo, append(slices.Clone(goroutines), "default"), "X25519MLKEM768", readResult},
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		r.Notef("%s: SKIPPED: %v.", clientSTime, err)
		return can, nil
	}
	stime := []string{"openssl", "s_time", "-connect", addr, "-new", "-time", strconv.Itoa(max(int(c.Duration.Seconds()), 1))}
	return append(can, testedClient{clientSTime, stime, "", readSTime}), nil
}

// one runs a client to its end, and checks whom it has reached and how.
func (c *clients) one(ctx context.Context, cpu int, t testedClient, sha256 string, same *client.Agreement) (*clientResult, error) {
	process.Progress("measuring %s", t.name)
	cmd := process.Command(ctx, t.name, t.command[0], t.command[1:]...)
	cmd.SetThreads(1)
	e, err := cmd.Run(cpu)
	if err != nil {
		return nil, err
	}
	res, err := t.read(e.Out)
	if err != nil {
		return nil, err
	}
	return &clientResult{Handshakes: res.Total.Handshakes, Elapsed: e.Took, CPU: e.CPU}, t.check(client.Full(c.Key), res, sha256, same)
}

// check returns an error if a client did not do what it was to, as far as it
// tells.
func (t testedClient) check(kind client.Kind, res *load.Result, sha256 string, same *client.Agreement) error {
	switch {
	case res.Total.Errors > 0:
		return fmt.Errorf("%d handshakes failed", res.Total.Errors)
	case res.Total.Handshakes == 0:
		return errors.New("it made no handshake")
	case t.curve == "":
		return nil
	case res.Handshakes == 0:
		return errors.New("it does not tell of its handshakes")
	}
	if err := same.Check(t.name, kind, "", res, sha256); err != nil {
		return err
	}
	if got := res.Negotiated[0].Curve; got != t.curve {
		return fmt.Errorf("its handshakes agreed on %s instead of %s", got, t.curve)
	}
	return nil
}

// readResult reads the result of tlsdemo load, or of client.Goroutines.
func readResult(out []byte) (*load.Result, error) {
	res := new(load.Result)
	if err := json.Unmarshal(out, res); err != nil {
		return nil, fmt.Errorf("it printed %.1000q: %w", out, err)
	}
	return res, nil
}

var sTimeCount = regexp.MustCompile(`(?m)^(\d+) connections in \d+ real seconds`)

func readSTime(out []byte) (*load.Result, error) {
	m := sTimeCount.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("openssl s_time printed nothing like %q", sTimeCount)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return &load.Result{Total: load.Total{Handshakes: n}}, err
}

// clientTable has a row for each client. Below them are the figures of ours
// divided by those of the others with the same key exchange, and by those of the
// client that one writes without a thought of key exchanges.
func clientTable(names []string, results map[string][]*clientResult) *report.Table {
	t := report.NewTable("", clientColumns, "client")
	for _, name := range names {
		report.AddRow(t, results[name], clientColumns, name)
	}
	for _, pair := range [][2]string{{clientLoad, clientGo}, {clientHybridLoad, clientDefaultGo}, {clientLoad, clientDefaultGo}, {clientLoad, clientSTime}} {
		if results[pair[1]] != nil {
			report.AddRatio(t, pair[0]+" / "+pair[1], results[pair[0]], results[pair[1]], clientColumns)
		}
	}
	return t
}
