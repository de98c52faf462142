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

// testedClient is a client under measurement: its command, and how to tell from
// what it prints how many handshakes it has made.
type testedClient struct {
	name    string
	command []string
	count   func(out []byte) (int64, error)
}

func (c *clients) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Duration = 1, time.Second
	}
	r, err := newReport("clients")
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
			for round := range c.Rounds {
				for i := range all {
					t := all[i]
					if round%2 == 1 {
						t = all[len(all)-1-i]
					}
					res, err := c.measure(ctx, t)
					if err != nil {
						return fmt.Errorf("%s: %w", t.name, err)
					}
					results[t.name] = append(results[t.name], res)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Results = results
		notes = append(notes,
			fmt.Sprintf("Full TLS 1.3 handshakes with one server (%s, %s) on the other core, %d rounds of %v for each client in turn: median (least–greatest).", nameGoroutines, c.Key, c.Rounds, c.Duration),
			"The CPU time is that of the whole process, its start included, with GOMAXPROCS=1 on one core. None verifies the certificate. openssl s_time has one connection at a time and offers what OpenSSL does: X25519's key share.")
		return r.finish(&c.options, notes, clientTable(names, results))
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
		{clientLoad, loaded(), countOfJSON},
		{clientGo, goroutines("X25519"), countOfJSON},
		{clientHybridLoad, loaded("--curve", "X25519MLKEM768"), countOfJSON},
		{clientDefaultGo, goroutines("default"), countOfJSON},
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		return can, []string{fmt.Sprintf("%s: SKIPPED: %v.", clientSTime, err)}, nil
	}
	stime := []string{"openssl", "s_time", "-connect", addr, "-new", "-time", strconv.Itoa(max(int(c.Duration.Seconds()), 1))}
	return append(can, testedClient{clientSTime, stime, countOfSTime}), nil, nil
}

// measure runs a client to its end.
func (c *clients) measure(ctx context.Context, t testedClient) (*clientResult, error) {
	progress("measuring %s", t.name)
	cmd := exec.CommandContext(ctx, t.command[0], t.command[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = endWithUs()
	var out bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &out, &stderr
	begin := time.Now()
	if err := onCPU(c.ClientCPU, cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w%s", err, stderr.text())
	}
	n, err := t.count(out.Bytes())
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("it made no handshake")
	}
	return &clientResult{Handshakes: n, Elapsed: time.Since(begin), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// countOfJSON reads the result of tlsdemo load, or of goroutineClient.
func countOfJSON(out []byte) (int64, error) {
	var res struct {
		Total struct {
			Handshakes int64 `json:"handshakes"`
			Errors     int64 `json:"errors"`
		} `json:"total"`
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return 0, fmt.Errorf("it printed %.1000q: %w", out, err)
	}
	if n := res.Total.Errors; n > 0 {
		return 0, fmt.Errorf("%d handshakes failed", n)
	}
	return res.Total.Handshakes, nil
}

var sTimeCount = regexp.MustCompile(`(?m)^(\d+) connections in \d+ real seconds`)

func countOfSTime(out []byte) (int64, error) {
	m := sTimeCount.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("openssl s_time printed nothing like %q", sTimeCount)
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// clientTable has a row for each client, and then the figures of ours divided by
// those of the others with the same key exchange, and by those of the client
// that one writes without thinking of key exchanges.
func clientTable(names []string, results map[string][]*clientResult) *table {
	t := &table{header: headings(clientColumns, "client")}
	for _, name := range names {
		row := []string{name}
		for _, col := range clientColumns {
			row = append(row, spread(ofRounds(results[name], col.f)))
		}
		t.add(row...)
	}
	for _, pair := range [][2]string{{clientLoad, clientGo}, {clientHybridLoad, clientDefaultGo}, {clientLoad, clientDefaultGo}, {clientLoad, clientSTime}} {
		if results[pair[1]] == nil {
			continue
		}
		row := []string{pair[0] + " / " + pair[1]}
		for _, col := range clientColumns {
			row = append(row, ratio(ofRounds(results[pair[0]], col.f), ofRounds(results[pair[1]], col.f)))
		}
		t.add(row...)
	}
	return t
}
