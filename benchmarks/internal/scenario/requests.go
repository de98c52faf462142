//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

func init() {
	register(Entry{
		Name: "requests", Title: "Requests", Help: "HTTPS keep-alive requests per second.",
		New: func() Scenario { return new(requests) }, Usual: true,
	})
}

// requests measures requests on connections that are kept.
type requests struct {
	Key      string        `enum:"rsa2048,ecdsa-p256" default:"ecdsa-p256" help:"The servers' key: ${enum}."`
	Clients  int           `default:"64" min:"1" help:"Connections."`
	Rounds   int           `default:"5" min:"1" help:"Rounds; in each, every server is measured once."`
	Duration time.Duration `default:"15s" min:"1s" help:"How long a server is measured in a round."`
	Servers  []string      `enum:"${https}" default:"jobloop,goroutines,nethttp,fasthttp,nginx,haproxy" help:"What to measure: any of ${enum}."`
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

var requestColumns = []report.Column[*requestResult]{
	{Name: "requests/s", Of: (*requestResult).rate, Higher: true},
	{Name: "server CPU, µs each", Of: (*requestResult).cpu},
	{Name: "p50, ms", Of: func(r *requestResult) float64 { return r.P50.Seconds() * 1e3 }},
	{Name: "p99, ms", Of: func(r *requestResult) float64 { return r.P99.Seconds() * 1e3 }},
}

func (q *requests) quick() { q.Rounds, q.Duration = 1, time.Second }

func (q *requests) measure(ctx context.Context, r *run) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("%w: %w; it is the client of this scenario", ErrSkipped, err)
	}
	peers, err := r.peers(q.Servers, q.Key)
	if err != nil {
		return err
	}
	results, failed := servers(ctx, r, q.Rounds, peers, q.Key, peer.Options{}, func(s *peer.Server) (*requestResult, error) { return q.one(ctx, r, s) })
	if len(results) == 0 {
		return failed
	}
	r.Results = results
	names := namesOf(peers)
	r.Add(serverTable(q.Key, "server", names, results, requestColumns))
	r.AddBars("requests", "Keep-alive requests over TLS on one core", "requests/s", names, false, report.NewBar("", names, results, (*requestResult).rate))
	r.Notef("%s, %d connections, wrk with one thread, %s of %v for each server in turn: median (least–greatest).", q.Key, q.Clients, roundsText(q.Rounds), q.Duration)
	return errors.Join(failed, r.noteRequests(names, results))
}

// one measures one server once.
func (q *requests) one(ctx context.Context, r *run, s *peer.Server) (*requestResult, error) {
	var e process.Ended
	cpu, err := cpuDuring(s, func() (err error) {
		e, err = process.Command(ctx, "wrk", "wrk", "--threads", "1", "--connections", strconv.Itoa(q.Clients),
			"--duration", strconv.Itoa(int(q.Duration.Seconds()))+"s", "--latency", "https://"+s.Addr+"/").Run(r.ClientCPU)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, e.Out)
	}
	res, err := parseWrk(e.Out)
	if err != nil {
		return nil, err
	}
	res.ServerCPU, res.ClientCPU, res.Elapsed = cpu, e.CPU, e.Took
	return res, nil
}

// wrkLines are those of wrk's output that count:
//
//	    50%  404.00us
//	    99%    2.66ms
//	 118040 requests in 1.00s, 34.56MB read
//	 Socket errors: connect 0, read 3, write 0, timeout 0
//	Requests/sec: 118040.12
var (
	wrkLines   = regexp.MustCompile(`(?ms)^ +50% +(\S+)$.*^ +99% +(\S+)$.*^ +(\d+) requests in .*^Requests/sec: +([\d.]+)$`)
	wrkTrouble = regexp.MustCompile(`(?m)^ *((?:Socket errors|Non-2xx).*)$`)
)

func parseWrk(out []byte) (*requestResult, error) {
	m := wrkLines.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("wrk printed nothing like %q:\n%s", wrkLines, out)
	}
	res := new(requestResult)
	var errs [4]error
	res.P50, errs[0] = time.ParseDuration(string(m[1]))
	res.P99, errs[1] = time.ParseDuration(string(m[2]))
	res.Requests, errs[2] = strconv.ParseInt(string(m[3]), 10, 64)
	res.Rate, errs[3] = strconv.ParseFloat(string(m[4]), 64)
	if m := wrkTrouble.FindSubmatch(out); m != nil {
		res.Trouble = string(m[1])
	}
	return res, errors.Join(errs[:]...)
}

// noteRequests says where wrk was the limit. It returns which rounds were not
// clean.
func (r *run) noteRequests(names []string, results map[string][]*requestResult) error {
	var errs []error
	for _, name := range names {
		full := 0
		for i, res := range results[name] {
			if res.ClientCPU.Seconds()/res.Elapsed.Seconds() >= load.BusyLimit {
				full++
			}
			if res.Trouble != "" {
				errs = append(errs, fmt.Errorf("%s, round %d: wrk: %s", name, i+1, res.Trouble))
			}
		}
		r.noteLimit(name, full, len(results[name]))
	}
	return errors.Join(errs...)
}
