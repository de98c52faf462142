//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/load"
)

func TestScalingRound(t *testing.T) {
	s := &scaling{options: options{ServerCPU: -1, ClientCPU: -1}, Handshakes: 5000, Timeout: time.Minute}
	keys, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	res := &load.Result{Handshakes: 100, Duration: 2, Total: load.Total{Handshakes: 101}, ErrorsByKind: map[string]int64{"reset": 2}}
	res.Client.Busy = 0.5
	client, args := fakeClient(t, res)
	var o serverOptions
	c := fakeServer(t, "us", &o)
	var wrong error // with the results
	check := func(who string, _ *scalingPoint, _ *load.Result, cert *certificate) error {
		if who != "us" || cert.certFile != o.cert.certFile {
			t.Errorf("results of %s with %s are checked", who, cert.certFile)
		}
		return wrong
	}
	for _, p := range []*scalingPoint{{"ecdsa-p256", 10, 2, make(map[string][]*scalingResult)}, {"ecdsa-p256", 10000, 1, make(map[string][]*scalingResult)}} {
		if err := s.round(t.Context(), client, c, keys, p, check); err != nil {
			t.Fatal(err)
		}
		if o.threads != p.Threads {
			t.Errorf("the server has %d threads, want %d", o.threads, p.Threads)
		}
		got := p.Results["us"]
		if len(got) != 1 || got[0].rate() != 50 || got[0].All != 101 || got[0].errors() != 2 || got[0].ClientBusy != 0.5 {
			t.Errorf("%+v", got)
		}
	}
	for i, want := range []string{"--connections 10 --count 5000 ", "--connections 10000 --count 20000 "} {
		if line := args()[i]; !strings.Contains(line, want) {
			t.Errorf("the load is %q, want %q in it", line, want)
		}
	}

	for want, res := range map[string]*load.Result{
		"none of 3 handshakes succeeded":       {Errors: 3},
		"ended early: out of descriptors, aft": {Handshakes: 7, Stopped: "out of descriptors"},
	} {
		client, _ := fakeClient(t, res)
		if err := s.round(t.Context(), client, c, keys, &scalingPoint{Connections: 1, Threads: 1}, check); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	wrong = errors.New("another certificate")
	if err := s.round(t.Context(), client, c, keys, &scalingPoint{Connections: 1, Threads: 1}, check); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
}

func TestScalingPoints(t *testing.T) {
	many := runtime.NumCPU() + 1
	s := &scaling{Connections: []int{1, 100}, Threads: []int{1, many}, Beside: 64, Handshakes: 1}
	byConnections, byThreads := s.points("rsa2048")
	if len(byConnections) != 2 || byConnections[1].Connections != 100 || byConnections[1].Threads != 1 {
		t.Errorf("%+v", byConnections)
	}
	if len(byThreads) != 1 || byThreads[0].Connections != 64 || byThreads[0].Threads != 1 {
		t.Errorf("%+v", byThreads)
	}
	if notes := strings.Join(s.notes(&scalingResults{}), "\n"); !strings.Contains(notes, fmt.Sprintf("%d threads: SKIPPED", many)) {
		t.Errorf("it is not said that %d threads are too many:\n%s", many, notes)
	}
	s.Connections = []int{1, 0}
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "--connections: 0") {
		t.Errorf("error %v", err)
	}
}

func TestScalingTable(t *testing.T) {
	point := func(connections int, r ...*scalingResult) *scalingPoint {
		return &scalingPoint{"rsa2048", connections, 1, map[string][]*scalingResult{"jobloop": r}}
	}
	points := []*scalingPoint{
		point(1, &scalingResult{Handshakes: 1000, All: 1000, Elapsed: 2, ServerCPU: time.Second, ClientBusy: 0.95}),
		point(1000,
			&scalingResult{Handshakes: 1000, All: 1000, Elapsed: 2, ServerCPU: 2 * time.Second, ClientBusy: 0.95},
			&scalingResult{Handshakes: 500, All: 1000, Elapsed: 1, ServerCPU: time.Second, Errors: map[string]int64{"timeout": 500}}),
	}
	tab := scalingTable("rsa2048: server", "connections", []string{"jobloop"}, points, func(p *scalingPoint) int { return p.Connections })
	for i, want := range []string{
		"[jobloop 1 1000 500 0.500 0 0 0]",
		"[jobloop 1000 1500 (1000–2000) 500 (500–500) 1.00 (1.00–1.00) 0 (0–0) 0 (0–0) 250 (0–500)]",
	} {
		if got := fmt.Sprint(tab.Rows[i]); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
	s := &scaling{Handshakes: 1000, Rounds: 2}
	notes := strings.Join(s.notes(&scalingResults{ByConnections: points}), "\n")
	for _, want := range []string{
		"rsa2048, jobloop, 1 connections, 1 threads: in 1 of 1 rounds the client was the limit",
		"rsa2048, jobloop, 1000 connections, 1 threads, round 2: 500 failed: 500 timeout.",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes lack %q:\n%s", want, notes)
		}
	}
	if strings.Count(notes, "client was the limit") != 1 {
		t.Errorf("a server that was busy is said to be limited by the client:\n%s", notes)
	}

	// Two threads are busy when both are.
	two := &scalingPoint{"rsa2048", 64, 2, map[string][]*scalingResult{
		"idle": {{All: 1, Elapsed: 1, ServerCPU: 1500 * time.Millisecond, ClientBusy: 0.95}},
		"busy": {{All: 1, Elapsed: 1, ServerCPU: 1900 * time.Millisecond, ClientBusy: 0.95}},
	}}
	if got := two.warnings("idle"); len(got) != 1 || !strings.Contains(got[0], "in 1 of 1 rounds the client was the limit") {
		t.Errorf("a server with two threads that used one and a half cores: %q", got)
	}
	if got := two.warnings("busy"); got != nil {
		t.Errorf("a server that used its two cores: %q", got)
	}
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

func TestRounds(t *testing.T) {
	var order []string
	c := []contender{{name: "a"}, {name: "b"}, {name: "c"}}
	err := rounds(t.Context(), 3, c, func(c contender) error { order = append(order, c.name); return nil })
	if got := strings.Join(order, ""); got != "abccbaabc" || err != nil {
		t.Errorf("order %s, %v", got, err)
	}

	// One that fails has no more rounds.
	order = nil
	wrong := errors.New("wrong")
	err = rounds(t.Context(), 3, c, func(c contender) error {
		order = append(order, c.name)
		if c.name == "b" {
			return wrong
		}
		return nil
	})
	if got := strings.Join(order, ""); got != "abccaac" || !errors.Is(err, wrong) || err.Error() != "b, round 1: wrong" {
		t.Errorf("order %s, error %v", got, err)
	}

	if err := rounds(t.Context(), 0, c, nil); err == nil || err.Error() != "--rounds: 0, at least 1 is needed" {
		t.Errorf("error %v", err)
	}

	order = nil
	ctx, cancel := context.WithCancel(t.Context())
	err = rounds(ctx, 3, c, func(c contender) error { order = append(order, c.name); cancel(); return nil })
	if len(order) != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("order %q after the end, error %v", order, err)
	}

	// Who fails because of the end is not to blame, and who failed before is.
	ctx, cancel = context.WithCancel(t.Context())
	err = rounds(ctx, 3, c, func(c contender) error {
		if c.name == "b" {
			cancel()
		}
		return wrong
	})
	if err == nil || err.Error() != "a, round 1: wrong\ncontext canceled" {
		t.Errorf("error %v", err)
	}
}

func TestFamilyCPU(t *testing.T) {
	cmd := exec.Command("sh", "-c", "cat; :") // two processes
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "x")
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // cat is there
		t.Fatal(err)
	}
	alone, err := bench.CPUTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := familyCPU(cmd.Process.Pid); all <= alone || err != nil {
		t.Errorf("%v, %v with its child, %v alone", all, err, alone)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A server with two loops has two threads for them.
func TestThreads(t *testing.T) {
	for threads, want := range map[int][]string{0: {"(1 threads;", " --loops 1 "}, 2: {"(2 threads;", " --loops 2 ", " --handshake-timeout 1m0s "}} {
		s, err := jobloop(nameJobloop, fakeProgram(t)).start(t.Context(), serverOptions{cert: new(certificate), cpu: -1, threads: threads, handshake: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(s.said, w) {
				t.Errorf("%d threads: %q lacks %q", threads, s.said, w)
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
}

// fakeProgram says where it listens, as tlsdemo does, and ends when it is told
// to.
func fakeProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "server")
	script := `#!/bin/sh
trap 'exit 0' TERM
echo "listening on 127.0.0.1:4433; engine: none ($GOMAXPROCS threads; called with $*)"
while :; do sleep 0.05; done
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program
}

// fakeServer is a contender that is not one, and keeps what it was given.
func fakeServer(t *testing.T, name string, options *serverOptions) contender {
	t.Helper()
	program := fakeProgram(t)
	return contender{name, func(ctx context.Context, o serverOptions) (*server, error) {
		*options = o
		return startServer(ctx, name, o, "", program)
	}}
}
