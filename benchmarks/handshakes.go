//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// handshakes is the part that measures full handshakes.
type handshakes struct {
	options
	Key      string        `enum:"rsa2048,rsa3072,rsa4096,ecdsa-p256" default:"rsa2048" help:"The servers' key: ${enum}."`
	Clients  int           `default:"64" help:"Connections at a time; 1 for the latency of a client that is alone."`
	Rounds   int           `default:"5" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"30s" help:"How long a server is measured in a round."`
	Warmup   time.Duration `default:"2s" help:"Load before that."`
	Request  bool          `default:"true" negatable:"" help:"Make one request after each handshake: its answer proves that the server has finished the handshake too."`
	Servers  []string      `enum:"jobloop,jobloop-multibuffer,jobloop-offload,goroutines,nethttp,fasthttp,nginx" default:"jobloop-multibuffer,jobloop,goroutines,nginx" help:"What to measure, of ${enum}."`
}

func (h *handshakes) Run(ctx context.Context) error {
	if h.Quick {
		h.Rounds, h.Duration, h.Warmup = 1, time.Second, 200*time.Millisecond
	}
	r, err := newReport("handshakes")
	if err != nil {
		return err
	}
	names, notes, err := runnable(h.Servers, h.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		contenders, err := h.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, h.Key)
		if err != nil {
			return err
		}
		results, err := h.measure(ctx, contenders, keys)
		if err != nil {
			return err
		}
		r.Results = results
		notes = append(notes, fmt.Sprintf("%s, %d clients at a time, %d rounds of %v for each server in turn: median (least–greatest).",
			h.Key, h.Clients, h.Rounds, h.Duration))
		if h.Request {
			notes = append(notes, "Figures are of a full TLS 1.3 handshake (X25519) with one request and its answer.")
		}
		notes = append(notes, handshakeWarnings(names, h.Clients, results)...)
		return errors.Join(r.finish(&h.options, notes, handshakeTable(names, results)), handshakeErrors(names, results))
	})
}

// measure runs the rounds. Every other round goes through the servers
// backwards, so that none always comes after the same one.
func (h *handshakes) measure(ctx context.Context, contenders []contender, keys *keys) (map[string][]*handshakeResult, error) {
	results := make(map[string][]*handshakeResult)
	for round := range h.Rounds {
		for i := range contenders {
			c := contenders[i]
			if round%2 == 1 {
				c = contenders[len(contenders)-1-i]
			}
			cert, err := keys.certificate()
			if err != nil {
				return nil, err
			}
			res := new(handshakeResult)
			err = c.with(ctx, serverOptions{cert: cert, cpu: h.ServerCPU, idleTimeout: time.Minute}, func(s *server) error {
				return runClient(ctx, h.ClientCPU, res, "handshake-client", s.addr, "--pid", strconv.Itoa(s.pid()),
					"--serial", strconv.FormatInt(cert.serial, 10), "--clients", strconv.Itoa(h.Clients),
					"--warmup", h.Warmup.String(), "--duration", h.Duration.String(), fmt.Sprintf("--request=%t", h.Request), "--core", strconv.Itoa(h.ServerCPU))
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			results[c.name] = append(results[c.name], res)
		}
	}
	return results, nil
}

// handshakeResult is what the client found out about one server in one round.
type handshakeResult struct {
	Handshakes int64         `json:"handshakes"`
	Errors     int64         `json:"errors"`
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed_ns"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	Max        time.Duration `json:"max_ns"`
	ServerCPU  time.Duration `json:"server_cpu_ns"`
	ServerUser time.Duration `json:"server_user_ns"`
	ServerSys  time.Duration `json:"server_system_ns"`
	Switches   int64         `json:"server_context_switches"`
	ClientCPU  time.Duration `json:"client_cpu_ns"`
	OtherCPU   time.Duration `json:"other_cpu_ns"`     // that others took of the server's core
	RSS        [3]int64      `json:"server_rss_bytes"` // at the start, in the middle, at the end
}

func (r *handshakeResult) rate() float64 { return float64(r.Handshakes) / r.Elapsed.Seconds() }
func (r *handshakeResult) cpu() float64 {
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / float64(r.Handshakes)
}
func (r *handshakeResult) busy() float64 {
	return 100 * r.ServerCPU.Seconds() / r.Elapsed.Seconds()
}
func (r *handshakeResult) p50() float64 { return r.P50.Seconds() * 1e3 }
func (r *handshakeResult) p99() float64 { return r.P99.Seconds() * 1e3 }
func (r *handshakeResult) max() float64 { return r.Max.Seconds() * 1e3 }

// column returns one figure of all rounds of a server.
func column(results map[string][]*handshakeResult, name string, f func(*handshakeResult) float64) []float64 {
	var values []float64
	for _, r := range results[name] {
		values = append(values, f(r))
	}
	return values
}

var handshakeColumns = []struct {
	name string
	f    func(*handshakeResult) float64
}{
	{"handshakes/s", (*handshakeResult).rate},
	{"server CPU, µs each", (*handshakeResult).cpu},
	{"server busy, %", (*handshakeResult).busy},
	{"p50, ms", (*handshakeResult).p50},
	{"p99, ms", (*handshakeResult).p99},
	{"max, ms", (*handshakeResult).max},
}

// handshakeTable has a row for each server, and one for each pair of
// comparisons with the one's figures divided by the other's.
func handshakeTable(names []string, results map[string][]*handshakeResult) *table {
	t := &table{header: []string{"server"}}
	for _, c := range handshakeColumns {
		t.header = append(t.header, c.name)
	}
	t.header = append(t.header, "RSS, MB: start", "middle", "end", "errors")
	for _, name := range names {
		row := []string{name}
		for _, c := range handshakeColumns {
			row = append(row, spread(column(results, name, c.f)))
		}
		for i := range 3 {
			row = append(row, figure(median(column(results, name, func(r *handshakeResult) float64 { return float64(r.RSS[i]) / 1e6 }))))
		}
		errs := int64(0)
		for _, r := range results[name] {
			errs += r.Errors
		}
		t.add(append(row, strconv.FormatInt(errs, 10))...)
	}
	for _, pair := range comparisons(names) {
		row := []string{pair[0] + " / " + pair[1]}
		for _, c := range handshakeColumns {
			row = append(row, ratio(column(results, pair[0], c.f), column(results, pair[1], c.f)))
		}
		t.add(row...)
	}
	return t
}

// comparisons returns which server to compare with which: each of ours with
// every peer, and with those of ours that are named after it.
func comparisons(names []string) (pairs [][2]string) {
	ours := func(name string) bool { return engines[name] != "" }
	for i, name := range names {
		for j, other := range names {
			if ours(name) && (!ours(other) || j > i) {
				pairs = append(pairs, [2]string{name, other})
			}
		}
	}
	return pairs
}

// handshakeWarnings says which figures are not what they seem.
func handshakeWarnings(names []string, clients int, results map[string][]*handshakeResult) []string {
	var notes []string
	if clients == 1 {
		notes = append(notes, "One client at a time: the server is idle while the client computes, and handshakes/s says nothing of the server's limit.")
	}
	for _, name := range names {
		idle, disturbed := 0, 0.0
		for _, r := range results[name] {
			other := 100 * r.OtherCPU.Seconds() / r.Elapsed.Seconds()
			disturbed = max(disturbed, other)
			if r.busy()+other < 95 {
				idle++
			}
		}
		if idle > 0 && clients > 1 {
			notes = append(notes, fmt.Sprintf("In %d of %d rounds of %s its core was idle at times: the client was the limit, and handshakes/s and latency are the client's. CPU time is the server's all the same.",
				idle, len(results[name]), name))
		}
		if disturbed > 5 {
			notes = append(notes, fmt.Sprintf("Others (processes, interrupts, the hypervisor) took up to %.0f %% of the core in a round of %s.", disturbed, name))
		}
	}
	return notes
}

// handshakeErrors says which handshakes failed. None is expected to.
func handshakeErrors(names []string, results map[string][]*handshakeResult) error {
	var errs []error
	for _, name := range names {
		for i, r := range results[name] {
			if r.Errors > 0 {
				errs = append(errs, fmt.Errorf("%s, round %d: %d handshakes failed, the first: %s", name, i+1, r.Errors, r.FirstError))
			}
		}
	}
	return errors.Join(errs...)
}
