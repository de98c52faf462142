//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

// requests is the part that measures requests on connections that are kept.
type requests struct {
	options
	Key      string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	Clients  int           `default:"64" help:"Connections."`
	Rounds   int           `default:"5" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"15s" help:"How long a server is measured in a round."`
	Servers  []string      `enum:"jobloop,goroutines,nethttp,fasthttp,nginx,haproxy" default:"jobloop,goroutines,nethttp,fasthttp,nginx,haproxy" help:"What to measure, of ${enum}."`
}

// requestResult is what wrk said about one server in one round.
type requestResult struct {
	Requests  int64         `json:"requests"`
	Rate      float64       `json:"requests_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	ServerCPU time.Duration `json:"server_cpu_ns"` // with the handshakes at the start
	ClientCPU time.Duration `json:"client_cpu_ns"` // wrk's
	Elapsed   time.Duration `json:"elapsed_ns"`    // from wrk's start to its end
	Trouble   string        `json:"trouble,omitempty"`
}

func (r *requestResult) rate() float64 { return r.Rate }
func (r *requestResult) cpu() float64 {
	return float64(r.ServerCPU.Nanoseconds()) / 1e3 / float64(r.Requests)
}

// clientBusy is how much of a core wrk has used.
func (r *requestResult) clientBusy() float64 { return r.ClientCPU.Seconds() / r.Elapsed.Seconds() }

func (r *requests) Run(ctx context.Context) error {
	if r.Quick {
		r.Rounds, r.Duration = 1, time.Second
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("%w: %w; it is the client of this part", errSkipped, err)
	}
	rep, err := r.newReport("requests")
	if err != nil {
		return err
	}
	names, notes, err := runnableOrError(r.Servers, r.Key)
	if err != nil {
		return err
	}
	return inTempDir(func(dir string) error {
		contenders, err := r.contenders(ctx, dir, names)
		if err != nil {
			return err
		}
		keys, err := newKeys(dir, r.Key)
		if err != nil {
			return err
		}
		results := make(map[string][]*requestResult)
		failed := rounds(ctx, r.Rounds, contenders, func(c contender) error {
			res, err := r.measure(ctx, c, keys)
			if err == nil {
				results[c.name] = append(results[c.name], res)
			}
			return err
		})
		if len(results) == 0 {
			return failed
		}
		rep.Results = results
		notes = append(notes, fmt.Sprintf("%s, %d connections, wrk with one thread, %d rounds of %v for each server in turn: median (least–greatest).",
			r.Key, r.Clients, r.Rounds, r.Duration))
		notes = append(notes, requestWarnings(names, results)...)
		t := &bench.Table{Header: headings(requestColumns, "server")}
		addServers(t, "", names, results, requestColumns)
		plotRequests(rep, names, results)
		return errors.Join(rep.finish(&r.options, notes, t), failed, requestErrors(names, results))
	})
}

func (r *requests) measure(ctx context.Context, c contender, keys *keys) (*requestResult, error) {
	cert, err := keys.certificate()
	if err != nil {
		return nil, err
	}
	var res *requestResult
	return res, c.with(ctx, serverOptions{cert: cert, cpu: r.ServerCPU, idleTimeout: time.Minute}, func(s *server) error {
		before, err := bench.CPUTime(s.pid())
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "wrk", "--threads", "1", "--connections", strconv.Itoa(r.Clients),
			"--duration", strconv.Itoa(max(int(r.Duration.Seconds()), 1))+"s", "--latency", "https://"+s.addr+"/")
		cmd.SysProcAttr = endWithUs()
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		begin := time.Now()
		if err := bench.OnCPU(r.ClientCPU, cmd.Start); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("wrk: %w\n%s", err, out.Bytes())
		}
		took := time.Since(begin)
		after, err := bench.CPUTime(s.pid())
		if err != nil {
			return err
		}
		if res, err = parseWrk(out.Bytes()); err != nil {
			return err
		}
		res.ServerCPU, res.Elapsed = after-before, took
		res.ClientCPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return nil
	})
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	wrkP50      = regexp.MustCompile(`(?m)^\s*50%\s+(\S+)`)
	wrkP99      = regexp.MustCompile(`(?m)^\s*99%\s+(\S+)`)
	wrkTrouble  = regexp.MustCompile(`(?m)^\s*(Socket errors:.*|Non-2xx.*)$`)
)

func parseWrk(out []byte) (*requestResult, error) {
	var errs []error
	field := func(r *regexp.Regexp) string {
		m := r.FindSubmatch(out)
		if m == nil {
			errs = append(errs, fmt.Errorf("wrk printed nothing like %q:\n%s", r, out))
			return ""
		}
		return string(m[1])
	}
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	res := new(requestResult)
	var err error
	res.Requests, err = strconv.ParseInt(field(wrkRequests), 10, 64)
	keep(err)
	res.Rate, err = strconv.ParseFloat(field(wrkRate), 64)
	keep(err)
	res.P50, err = time.ParseDuration(field(wrkP50))
	keep(err)
	res.P99, err = time.ParseDuration(field(wrkP99))
	keep(err)
	if m := wrkTrouble.FindSubmatch(out); m != nil {
		res.Trouble = string(m[1])
	}
	if errs != nil {
		return nil, errs[0]
	}
	return res, nil
}

var requestColumns = []measured[*requestResult]{
	{"requests/s", (*requestResult).rate},
	{"server CPU, µs each", (*requestResult).cpu},
	{"p50, ms", func(r *requestResult) float64 { return r.P50.Seconds() * 1e3 }},
	{"p99, ms", func(r *requestResult) float64 { return r.P99.Seconds() * 1e3 }},
}

// requestWarnings says where wrk was the limit.
func requestWarnings(names []string, results map[string][]*requestResult) (notes []string) {
	for _, name := range names {
		full := 0
		for _, r := range results[name] {
			if r.clientBusy() >= load.BusyLimit {
				full++
			}
		}
		if full > 0 {
			notes = append(notes, fmt.Sprintf("%s: in %d of %d rounds wrk used %.0f %% of a core or more: it was the limit, and requests/s and latency are its own. CPU time is the server's all the same.", name, full, len(results[name]), 100*load.BusyLimit))
		}
	}
	return notes
}

// requestErrors says which rounds were not clean.
func requestErrors(names []string, results map[string][]*requestResult) error {
	var errs []error
	for _, name := range names {
		for i, r := range results[name] {
			if r.Trouble != "" {
				errs = append(errs, fmt.Errorf("%s, round %d: wrk: %s", name, i+1, r.Trouble))
			}
		}
	}
	return errors.Join(errs...)
}
