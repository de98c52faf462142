//go:build linux

package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/process/proctest"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

// The test binary is also the servers and clients that scenarios start: those are
// started with a command, tests with flags.
func TestMain(m *testing.M) {
	os.Exit(proctest.Main(m, &struct {
		Serve          peer.Serve     `cmd:""`
		Probe          client.Probe   `cmd:""`
		EchoClient     client.Echo    `cmd:""`
		IdleClient     client.Idle    `cmd:""`
		SignatureRound SignatureRound `cmd:""`
		SwitchRounds   SwitchRounds   `cmd:""`
	}{}, kong.Vars(Vars())))
}

// newRun is a run on any cores.
func newRun(t *testing.T) *run {
	t.Helper()
	return &run{
		Options: &Options{ServerCPU: process.AnyCPU, ClientCPU: process.AnyCPU}, Report: new(report.Report), dir: t.TempDir(),
		keys: make(map[string]*peer.Keys), same: make(map[client.Kind]*client.Agreement),
	}
}

// flags are a scenario as a command line has it.
func flags[S Scenario](t *testing.T, name string, args ...string) (S, error) {
	t.Helper()
	c, err := entries[name].parse(args)
	if err == nil {
		err = checkFlags(c.Scenario)
	}
	return c.Scenario.(S), err
}

// withServer starts a real server, to whose certificate fakeLoad can refer.
func withServer(t *testing.T, r *run, key string, f func(*peer.Server)) {
	t.Helper()
	withServerNamed(t, r, "goroutines", key, f)
}

func withServerNamed(t *testing.T, r *run, name, key string, f func(*peer.Server)) {
	t.Helper()
	peers, err := r.peers([]string{name}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.with(t.Context(), peers[0], key, peer.Options{}, func(s *peer.Server) error { f(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

// fakeLoad makes the client a "tlsdemo load" that prints a result and keeps its
// arguments. It measures from the moment at which it is started.
func (r *run) fakeLoad(t *testing.T, res *load.Result) (calls func() []string) {
	t.Helper()
	res.Started = res.Started.UTC()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), `"started":"0001-01-01T00:00:00Z"`, `"started":"'$(date -u +%FT%T.%NZ)'"`, 1)
	dir := t.TempDir()
	r.client = client.Load{Program: filepath.Join(dir, "tlsdemo"), CPU: process.AnyCPU}
	script := "#!/bin/sh\necho \"$*\" >> " + dir + "/calls\necho '" + text + "'\n"
	if err := os.WriteFile(r.client.Program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		b, err := os.ReadFile(dir + "/calls")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(b)), "\n")
	}
}

// goodLoad is a load of full handshakes of TLS 1.3 with a server.
func goodLoad(s *peer.Server, handshakes int64) *load.Result {
	res := &load.Result{
		Handshakes: handshakes, HandshakesPer: float64(handshakes),
		Negotiated: []load.Negotiated{{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", Handshakes: handshakes}},
	}
	if s != nil {
		res.Certificates = []load.Certificate{{SHA256: s.Cert.SHA256, Handshakes: handshakes}}
	}
	return res
}

// wantPrefixes checks that there are as many texts, each with its beginning.
func wantPrefixes(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d texts, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// rowsOf returns a table's rows as text, below its header.
func rowsOf(t *report.Table) (rows []string) {
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		rows = append(rows, strings.Join(row, " "))
	}
	return rows
}
