//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// clients is the part that measures the clients and not the servers: the CPU
// time in which "tlsdemo load" and others make a full handshake.
type clients struct {
	options
	Key         string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The server's key: ${enum}."`
	Connections int           `default:"64" help:"Connections at a time of each client (openssl s_time has one)."`
	Rounds      int           `default:"5" help:"Rounds; in each, every client is measured once."`
	Duration    time.Duration `default:"5s" help:"How long a client runs in a round."`
}

// clientResult is what one client did in one round.
type clientResult struct {
	Handshakes int64         `json:"handshakes"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	CPU        time.Duration `json:"cpu_ns"` // of the process, from its start to its end
}

var clientColumns = []measured[*clientResult]{
	{"client CPU, µs each", func(r *clientResult) float64 { return float64(r.CPU.Nanoseconds()) / 1e3 / float64(r.Handshakes) }},
	{"handshakes/s", func(r *clientResult) float64 { return float64(r.Handshakes) / r.Elapsed.Seconds() }},
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

func (t testedClient) String() string { return t.name }

func (c *clients) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Duration = 1, time.Second
	}
	if c.Connections < 1 {
		return fmt.Errorf("--connections: %d, at least 1 is needed", c.Connections)
	}
	r, err := c.newReport("clients")
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		peers, err := c.contenders(ctx, dir, []string{nameGoroutines})
		if err != nil {
			return err
		}
		program, err := c.loadProgram(ctx, dir)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, c.Key)
		if err != nil {
			return err
		}
		cert, err := keys.certificate()
		if err != nil {
			return err
		}
		results := make(map[string][]*clientResult)
		var names, notes []string
		err = peers[0].with(ctx, serverOptions{cert: cert, cpu: c.ServerCPU, idleTimeout: time.Minute}, func(s *server) error {
			all, skipped, err := c.all(program, s.addr)
			if err != nil {
				return err
			}
			notes = skipped
			for _, t := range all {
				names = append(names, t.name)
			}
			same := make(map[string]*agreement) // by key exchange
			for _, t := range all {
				same[t.curve] = new(agreement)
			}
			return rounds(ctx, c.Rounds, all, func(t testedClient) error {
				res, err := c.measure(ctx, t, cert, same[t.curve])
				if err == nil {
					results[t.name] = append(results[t.name], res)
				}
				return err
			})
		})
		if len(results) == 0 {
			return err
		}
		r.Results = results
		notes = append(notes,
			fmt.Sprintf("Full TLS 1.3 handshakes with one server (%s, %s) on the other core, %d rounds of %v for each client in turn: median (least–greatest).", nameGoroutines, c.Key, c.Rounds, c.Duration),
			"The CPU time is that of the whole process, its start included, with GOMAXPROCS=1 on one core. None verifies the certificate. openssl s_time has one connection at a time and offers what OpenSSL does: X25519's key share.",
			"The difference between the rows is mostly the key share: X25519MLKEM768 is what crypto/tls offers by itself. tlsdemo load also sets GOGC=400 by itself (up to 1,000 connections); the goroutines run with Go's default, 100.")
		return errors.Join(r.finish(&c.options, notes, clientTable(names, results)), err)
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

// all returns the clients that can run here, and says of the others why not.
func (c *clients) all(program, addr string) (can []testedClient, skipped []string, _ error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	n, d := strconv.Itoa(c.Connections), c.Duration.String()
	loaded := func(more ...string) []string {
		return append([]string{program, "load", addr, "--insecure", "--tls", "1.3", "--connections", n, "--duration", d, "--warmup", "0s", "--quiet", "--json", "-"}, more...)
	}
	goroutines := func(curve string) []string {
		return []string{self, "goroutine-client", addr, "--connections", n, "--duration", d, "--curve", curve}
	}
	can = []testedClient{
		{clientLoad, loaded(), "X25519", readResult},
		{clientGo, goroutines("X25519"), "X25519", readResult},
		{clientHybridLoad, loaded("--curve", "X25519MLKEM768"), "X25519MLKEM768", readResult},
		{clientDefaultGo, goroutines("default"), "X25519MLKEM768", readResult},
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		return can, []string{fmt.Sprintf("%s: SKIPPED: %v.", clientSTime, err)}, nil
	}
	stime := []string{"openssl", "s_time", "-connect", addr, "-new", "-time", strconv.Itoa(max(int(c.Duration.Seconds()), 1))}
	return append(can, testedClient{clientSTime, stime, "", readSTime}), nil, nil
}

// measure runs a client to its end, and checks whom it has reached and how.
func (c *clients) measure(ctx context.Context, t testedClient, cert *certificate, same *agreement) (*clientResult, error) {
	progress("measuring %s", t.name)
	cmd := exec.CommandContext(ctx, t.command[0], t.command[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = endWithUs()
	var out bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &out, &stderr
	begin := time.Now()
	if err := bench.OnCPU(c.ClientCPU, cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w%s", err, stderr.text())
	}
	took := time.Since(begin)
	res, err := t.read(out.Bytes())
	if err != nil {
		return nil, err
	}
	if err := c.check(t, res, cert, same); err != nil {
		return nil, err
	}
	return &clientResult{Handshakes: res.Total.Handshakes, Elapsed: took, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// check returns an error if a client did not do what it was to, as far as it
// tells.
func (c *clients) check(t testedClient, res *load.Result, cert *certificate, same *agreement) error {
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
	if err := same.check(t.name, combination{c.Key, "1.3", "full"}, res, cert); err != nil {
		return err
	}
	if got := res.Negotiated[0].Curve; got != t.curve {
		return fmt.Errorf("its handshakes agreed on %s instead of %s", got, t.curve)
	}
	return nil
}

// readResult reads the result of tlsdemo load, or of goroutineClient.
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

// clientTable has a row for each client, and then the figures of ours divided by
// those of the others with the same key exchange, and by those of the client
// that one writes without thinking of key exchanges.
func clientTable(names []string, results map[string][]*clientResult) *bench.Table {
	t := &bench.Table{Header: headings(clientColumns, "client")}
	for _, name := range names {
		row := []string{name}
		for _, col := range clientColumns {
			row = append(row, bench.Spread(ofRounds(results[name], col.f)))
		}
		t.Add(row...)
	}
	for _, pair := range [][2]string{{clientLoad, clientGo}, {clientHybridLoad, clientDefaultGo}, {clientLoad, clientDefaultGo}, {clientLoad, clientSTime}} {
		if results[pair[1]] == nil {
			continue
		}
		row := []string{pair[0] + " / " + pair[1]}
		for _, col := range clientColumns {
			row = append(row, bench.Ratio(ofRounds(results[pair[0]], col.f), ofRounds(results[pair[1]], col.f)))
		}
		t.Add(row...)
	}
	return t
}
