//go:build linux

package scenario

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/internal/load"
)

func TestScalingRound(t *testing.T) {
	r := newRun(t)
	s := &scaling{Handshakes: 5000, Timeout: time.Minute}
	withServer(t, r, "ecdsa-p256", func(srv *peer.Server) {
		for _, tt := range []struct {
			connections int
			want        string // in the load's arguments
		}{{10, "--connections 10 --count 5000 "}, {10000, "--connections 10000 --count 20000 "}} {
			res := goodLoad(srv, 100)
			res.Duration, res.Total.Handshakes, res.Errors = 2, 101, 2
			calls := r.fakeLoad(t, res)
			got, err := s.one(t.Context(), r, srv, &scalingPoint{Key: "ecdsa-p256", Connections: tt.connections, Threads: 1})
			if err != nil || got.Load.Total.Handshakes != 101 || got.Load.Errors != 2 || got.ServerCPU < 0 {
				t.Errorf("%+v, %v", got, err)
			}
			if line := calls()[0]; !strings.Contains(line, tt.want) {
				t.Errorf("the load is %q, want %q in it", line, tt.want)
			}
		}
		other := goodLoad(srv, 100)
		other.Certificates[0].SHA256 = "beef"
		for want, res := range map[string]*load.Result{
			"3 handshakes failed, 0 succeeded":     {Errors: 3},
			"ended early: out of descriptors, aft": {Handshakes: 7, Stopped: "out of descriptors"},
			"beef":                                 other,
		} {
			r.fakeLoad(t, res)
			if _, err := s.one(t.Context(), r, srv, &scalingPoint{Key: "ecdsa-p256", Connections: 1, Threads: 1}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	})
}

func TestScalingPoints(t *testing.T) {
	many := runtime.NumCPU() + 1
	s := &scaling{Connections: []int{1, 100}, Threads: []int{1, many}, Beside: 64, Handshakes: 1}
	byConnections, byThreads := s.points("rsa2048")
	if got := fmt.Sprint(byConnections, byThreads); got != "[rsa2048, 1 connections, 1 threads rsa2048, 100 connections, 1 threads] [rsa2048, 64 connections, 1 threads]" {
		t.Error(got)
	}
	r := newRun(t)
	s.notes(r.Report)
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, fmt.Sprintf("%d threads: SKIPPED", many)) {
		t.Errorf("it is not said that %d threads are too many:\n%s", many, notes)
	}
}

func TestScalingTable(t *testing.T) {
	result := func(handshakes, all, errors int64, seconds, cpu, busy float64) *scalingResult {
		res := &load.Result{Handshakes: handshakes, Errors: errors, Duration: seconds, Total: load.Total{Handshakes: all}, Client: load.Client{Busy: busy}}
		return &scalingResult{res, time.Duration(cpu * float64(time.Second))}
	}
	point := func(connections, threads int, r ...*scalingResult) *scalingPoint {
		return &scalingPoint{"rsa2048", connections, threads, map[string][]*scalingResult{"jobloop": r}}
	}
	failed := result(500, 1000, 500, 1, 1, 0)
	failed.Load.ErrorsByKind = map[string]int64{"timeout": 500}
	points := []*scalingPoint{point(1, 1, result(1000, 1000, 0, 2, 1, 0.95)), point(1000, 1, result(1000, 1000, 0, 2, 2, 0.95), failed)}
	tab := scalingTable("rsa2048", "connections", []string{"jobloop"}, points, func(p *scalingPoint) int { return p.Connections })
	wantPrefixes(t, rowsOf(tab), []string{
		"rsa2048: server connections server CPU, µs each handshakes/s cores used",
		"jobloop 1 1000 500 0.500 0 0 0",
		"jobloop 1000 1500 (1000–2000) 500 (500–500) 1.00 (1.00–1.00) 0 (0–0) 0 (0–0) 250 (0–500)",
	})
	r := newRun(t)
	// Two threads are busy when both are.
	for _, p := range append(points, point(64, 2, result(1, 1, 0, 1, 1.5, 0.95)), point(64, 2, result(1, 1, 0, 1, 1.9, 0.95))) {
		r.noteScaling(p, "jobloop")
	}
	wantPrefixes(t, r.Notes, []string{
		"rsa2048, 1 connections, 1 threads, jobloop: in 1 of 1 rounds the client was the limit",
		"rsa2048, 1000 connections, 1 threads, jobloop, round 2: 500 handshakes failed, 500 succeeded: 500 timeout.",
		"rsa2048, 64 connections, 2 threads, jobloop: in 1 of 1 rounds the client was the limit",
	})
}

func TestClientShares(t *testing.T) {
	for _, tt := range []struct {
		threads, cores int
		want           bool
	}{{1, 1, false}, {1, 2, false}, {2, 2, true}, {2, 3, false}, {3, 3, true}} {
		if got := clientShares(tt.threads, tt.cores); got != tt.want {
			t.Errorf("%d threads on %d cores: the client shares its own: %t", tt.threads, tt.cores, got)
		}
	}
}
