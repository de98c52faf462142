package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/version"
)

// loaded runs "tlsdemo load" with --json. It also returns the result.
func loaded(t *testing.T, args ...string) (status int, res *load.Result, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	status, stdout, stderr = output(t, append([]string{"load", "--json", file}, args...)...)
	b, err := os.ReadFile(file)
	if err != nil {
		return status, nil, stdout, stderr
	}
	res = new(load.Result)
	if err := json.Unmarshal(b, res); err != nil {
		t.Fatal(err)
	}
	return status, res, stdout, stderr
}

func TestLoad(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir())
	s := serve(t, "--cert", cert, "--keyfile", key)
	for _, test := range []struct {
		args string
		want load.Negotiated
	}{
		{"--tls 1.3", load.Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519"}},
		{"--tls 1.2 --curve P-256 --cipher ECDHE-ECDSA-CHACHA20-POLY1305",
			load.Negotiated{Version: "TLS 1.2", Cipher: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Curve: "P-256"}},
		{"--curve X25519MLKEM768 --alpn http/1.1", load.Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519MLKEM768", ALPN: "http/1.1"}},
		{"--rate 1000 --connections 10", load.Negotiated{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519"}},
	} {
		status, res, out, errs := loaded(t, append(strings.Fields(test.args), "--ca", cert, "--sni", "localhost", "--count", "40", "--request", "/", s.addr)...)
		if status != 0 || res == nil {
			t.Errorf("%s: status %d, stdout %s, stderr %s", test.args, status, out, errs)
			continue
		}
		test.want.Handshakes = 40
		if res.Handshakes != 40 || res.Errors != 0 || len(res.Negotiated) != 1 || res.Negotiated[0] != test.want {
			t.Errorf("%s: %d handshakes, %d errors, negotiated %+v", test.args, res.Handshakes, res.Errors, res.Negotiated)
		}
		if res.Phases.FirstByte == nil || res.Phases.FirstByte.Count != 40 || res.Total.Requests != 41 {
			t.Errorf("%s: requests: %+v, %d in all", test.args, res.Phases.FirstByte, res.Total.Requests)
		}
		for _, want := range []string{"handshakes", "40\n", "/s", "latency", "TCP connect", "first byte", test.want.Curve} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", test.args, want, out)
			}
		}
	}
	s.stop()
}

// --sni sends another name, or none, which leaves the target's host to be verified.
func TestLoadServerName(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir())
	s := serve(t, "--cert", cert, "--keyfile", key)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		sni, host, flag string
		status          int
	}{
		{"localhost", "127.0.0.1", "localhost", 0},
		{"", "localhost", "(none)", 0},
		{"other.test", "localhost", "", 1},
	} {
		status, res, _, errs := loaded(t, net.JoinHostPort(test.host, port), "--ca", cert, "--count", "4", "--sni", test.sni)
		if status != test.status || status == 0 && res.Settings.Flags["sni"] != test.flag {
			t.Errorf("--sni %q %s: status %d, stderr %s", test.sni, test.host, status, errs)
		}
	}
	s.stop()
}

// Other programs read these keys.
func TestLoadJSON(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	status, out, errs := output(t, "load", s.addr, "--insecure", "--count", "20", "--json", "-")
	if status != 0 {
		t.Fatalf("status %d, stderr %s", status, errs)
	}
	var res struct {
		Handshakes, Errors *int
		Rate               *float64           `json:"handshakes_per_s"`
		Duration           *float64           `json:"duration_s"`
		Latency            map[string]float64 `json:"latency_us"`
		ErrorsByKind       map[string]int64   `json:"errors_by_kind"`
		Environment        map[string]any
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if res.Handshakes == nil || *res.Handshakes != 20 || res.Errors == nil || *res.Errors != 0 || res.Rate == nil || *res.Rate <= 0 ||
		res.Duration == nil || *res.Duration <= 0 || res.ErrorsByKind == nil || len(res.ErrorsByKind) != 0 {
		t.Errorf("result:\n%s", out)
	}
	if got := res.Environment["version"]; got != version.String() {
		t.Errorf("version %v, want %s", got, version.String())
	}
	last := 0.0
	for _, p := range []string{"p50", "p90", "p99", "p999", "max"} {
		if v := res.Latency[p]; v < last || v == 0 {
			t.Errorf("%s is %v, after %v", p, v, last)
		} else {
			last = v
		}
	}
	s.stop()
}

func TestLoadReport(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	file := filepath.Join(t.TempDir(), "run.html")
	status, out, errs := output(t, "load", s.addr, "--insecure", "--count", "20", "--report", file, "--quiet")
	page, err := os.ReadFile(file)
	if status != 0 || out != "" || err != nil || !bytes.Contains(page, []byte("<svg")) || !bytes.Contains(page, []byte(s.addr)) {
		t.Errorf("status %d, stdout %q, stderr %q, page of %d bytes, %v", status, out, errs, len(page), err)
	}
	s.stop()
}

func TestLoadServerText(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	const server = "Example CPU, Linux 6.12"
	status, res, _, errs := loaded(t, s.addr, "--insecure", "--count", "5", "--server", server)
	if status != 0 || res == nil || res.Environment.Server != server || res.Settings.Flags["server"] != "" {
		t.Errorf("status %d, stderr %q, result %+v", status, errs, res)
	}
	s.stop()
}

// dropping is a server that closes every connection after the first ones. It closes the
// channel when these have come.
func dropping(t *testing.T, first int) (addr string, had chan struct{}) {
	t.Helper()
	cert, err := newCertificate("ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	had = make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if n == first {
				close(had)
			}
			if n < first {
				go tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake()
				continue
			}
			c.Close()
		}
	}()
	return ln.Addr().String(), had
}

func TestLoadErrorsAndStatus(t *testing.T) {
	addr, _ := dropping(t, 11) // ten and the probe
	status, res, out, errs := loaded(t, addr, "--insecure", "--count", "13", "--connections", "1")
	if status != 1 || res == nil || res.Handshakes != 10 || res.Errors != 3 {
		t.Fatalf("status %d, result %+v, stderr %s", status, res, errs)
	}
	if !strings.Contains(errs, "3 of 13 handshakes failed") || !strings.Contains(out, "handshakes  10\n") {
		t.Errorf("stdout\n%s\nstderr\n%s", out, errs)
	}
	sum := int64(0)
	for kind, n := range res.ErrorsByKind {
		sum += n
		if res.ErrorExamples[kind] == "" || !strings.Contains(out, res.ErrorExamples[kind]) {
			t.Errorf("%s: no example", kind)
		}
	}
	if sum != 3 {
		t.Errorf("errors by kind: %v", res.ErrorsByKind)
	}

	addr, _ = dropping(t, 11)
	if status, res, _, errs := loaded(t, addr, "--insecure", "--count", "13", "--connections", "1", "--max-errors", "3"); status != 0 || res == nil || res.Errors != 3 {
		t.Errorf("with --max-errors 3: status %d, stderr %s", status, errs)
	}
}

// Clients that give up are counted separately in all outputs.
func TestLoadPatience(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	cert, err := newCertificate("ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // the probe gets its handshake, all others wait in the backlog
		if c, err := silent.Accept(); err == nil {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake()
		}
	}()
	page := filepath.Join(t.TempDir(), "run.html")
	status, res, out, errs := loaded(t, silent.Addr().String(), "--insecure", "--connections", "5", "--count", "5", "--patience", "50ms-90ms", "--report", page)
	if status != 1 || res == nil || res.Errors != 5 || res.ErrorsByKind["gave up"] != 5 || res.GaveUpAfter == nil || res.GaveUpAfter.Count != 5 ||
		res.Total.GaveUp != 5 || res.Settings.Flags["patience"] != "50ms-90ms" {
		t.Fatalf("status %d, result %+v, stderr %s", status, res, errs)
	}
	if !strings.Contains(errs, "5 of 5 handshakes failed (5 gave up)") || !strings.Contains(out, "5: 5 gave up\n") || !strings.Contains(out, "gave up after") {
		t.Errorf("stdout\n%s\nstderr\n%s", out, errs)
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("gave up")) {
		t.Errorf("a report of %d bytes, %v", len(b), err)
	}
}

// A run that cannot begin says why in one line.
func TestLoadDoesNotBegin(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, test := range []struct{ args, names string }{
		{gone.Addr().String(), "refused"},
		{"nobody.invalid:443", "nobody.invalid"},
		{"unix:/nonexistent/x", "unix:/nonexistent/x"},
		{s.addr, "certificate"},
		{s.addr + " " + gone.Addr().String() + " --insecure", gone.Addr().String()},
		{s.addr + " --insecure --ca " + os.Args[0], "--insecure"},
		{s.addr + " --ca " + os.Args[0], "no certificate in"},
		{s.addr + " --insecure --connections 1000000000", "ulimit -n"},
		{s.addr + " --insecure --request /x --alpn h3", "no application protocol"},
		{s.addr + " --insecure --source 192.0.2.1", "--source"},
		{s.addr + " --insecure --source 127.0.0.1,192.0.2.1", "from 192.0.2.1"},
		{s.addr + " --insecure --report /nonexistent/x.html", "/nonexistent/x.html"},
	} {
		status, res, out, errs := loaded(t, strings.Fields(test.args)...)
		if status == 0 || res != nil || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, test.names) {
			t.Errorf("%s\nstatus %d, stdout %q, stderr %q, want one line with %q", test.args, status, out, errs, test.names)
		}
	}
	s.stop()
}

func TestLoadFlags(t *testing.T) {
	for _, test := range []struct{ args, names string }{
		{"", "target"},
		{"unix:", "unix:"},
		{"unix:@", "unix:@"},
		{"a:nonsense", "nonsense"},
		{"::1:443", "[::1]:443"},
		{"a:1 --tls 1.1", "--tls"},
		{"a:1 --curve nonsense", "X25519MLKEM768"},
		{"a:1 --tls 1.2 --curve X25519MLKEM768", "TLS 1.3"},
		{"a:1 --tls 1.2 --cipher nonsense", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		{"a:1 --cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls 1.2"},
		{"a:1 --tls 1.3 --cipher TLS_AES_128_GCM_SHA256", "cannot be chosen"},
		{"a:1 --client-signature rsa_pss_rsae_sha256", "--client-cert"},
		{"a:1 --client-signature nonsense", "ed25519"},
		{"a:1 --resume 101%", "101%"},
		{"a:1 --resume half", "percentage"},
		{"a:1 --request nonsense", "--request"},
		{"a:1 --request / --alpn h2,http/1.1", "--alpn"},
		{"a:1 --rate NaN", "--rate"},
		{"a:1 --rate 1 --arrivals nonsense", "poisson"},
		{"a:1 --arrivals poisson", "--rate"},
		{"a:1 --loops 0", "--loops"},
		{"a:1 --loops 5000 --connections 5000", "the most are 1024"},
		{"a:1 --connections -1", "--connections: -1"},
		{"a:1 --connections 0", "--connections"},
		{"a:1 --loops 100 --connections 64", "100 loops"},
		{"a:1 --count 1 --loops 2", "count"},
		{"a:1 --rate 2e6", "rate"},
		{"a:1 --timeout 0s", "--timeout"},
		{"a:1 --patience 0s", "--patience"},
		{"a:1 --patience -1s", `--patience: "-1s"`},
		{"a:1 --patience 4s-500ms", "--patience"},
		{"a:1 --patience 2", "--patience"},
		{"a:1 --warmup -1s", "--warmup: -1s"},
		{"a:1 --count -1", "--count: -1"},
		{"a:1 --max-errors -1", "--max-errors: "},
		{"a:1 --max-p99 0s", "--max-p99"},
		{"a:1 --min-rate 0", "--min-rate"},
		{"a:1 --sweep --max-p50 1s", "--sweep-p99"},
		{"a:1 --sweep --max-errors 1", "--max-errors"},
		{"a:1 --start-at 2020-01-01T00:00:00Z", "passed"},
		{"a:1 --start-at 0001-01-01T00:00:00Z", "passed"},
		{"a:1 --ramp 2562047h --warmup 2562047h", "a year"},
		{"a:1 --min-rate Inf", "--min-rate"},
		{"a:1 --sni [::1]", "brackets"},
		{"a:1 --sni fe80::1%eth0", "zone"},
		{"a:1 --sni a/b", "host name"},
		{"a:1 --sni bücher.test", "host name"},
		{"a:1 --alpn ,", "ALPN"},
		{"a:1 --patience 101%:1s", "101%"},
		{"a:1 --hold 0s", "--hold"},
		{"a:1 --hold 30%", "--hold"},
		{"a:1 --abort 101%", "--abort"},
		{"a:1 --abort often", "--abort"},
		{"a:1 --proxy-protocol 2", "v2"},
		{"a:1 --sweep --count 10", "--count"},
		{"a:1 --sweep --ramp 1s", "--ramp"},
		{"a:1 --sweep-max 10", "--sweep"},
		{"a:1 --sweep --rate 20 --sweep-max 10", "--sweep-max"},
		{"a:1 --sweep --sweep-max 50", "100 a second"},
		{"a:1 --source nonsense", "--source"},
		{"a:1 --client-cert " + os.Args[0], "--client-key"},
		{"a:1 --client-key " + os.Args[0], "--client-cert"},
		{"a:1 --ca /nonexistent", "/nonexistent"},
		{"a:1 --insecure --ca " + os.Args[0], "choose"},
		{"a:1 --json - --report -", "standard output"},
		{"a:1 --json x --report ./x", "--report: ./x is the file of --json"},
		{"a:1 --ca " + os.Args[0] + " --json " + os.Args[0], "is the file of --ca"},
		{"a:1 --ca " + os.Args[0] + " --report " + os.Args[0], "is the file of --ca"},
		{"a:1 --client-key " + os.Args[0] + " --client-cert " + os.Args[0] + " --json " + os.Args[0], "is the file of --client-cert"},
		{"a:1 --sweep-p99 1s", "--sweep-p99 needs --sweep"},

		// What is zero when it is not given means nothing when it is.
		{"a:1 --rate 0", "--rate: 0"},
		{"a:1 --duration 0s", "--duration: 0s"},
		{"a:1 --count 0", "--count: 0"},
		{"a:1 --sweep --sweep-max 0", "--sweep-max: 0"},
		{"a:1 --sweep --sweep-p99 0s", "--sweep-p99: 0s"},
		{"a:1 --json=", "--json: the name of a file"},
		{"a:1 --report=", "--report: the name of a file"},
		{"a:1 --metrics=", "--metrics: an address"},
		{"a:1 --request=", "--request: a path"},
		{"a:1 --alpn=", "--alpn: the name"},
		{"a:1 --source=", "--source: an IP address"},

		// Values that begin like flags.
		{"a:1 --rate -5", "--rate: -5"},
		{"a:1 --rate -Inf", "--rate: -Inf"},
		{"a:1 --rate -.5", "--rate: -0.5"},
		{"a:1 --sweep --sweep-max -5", "--sweep-max: -5"},
		{"a:1 --loops -5", "--loops: -5"},
		{"a:1 --ramp -1s", "--ramp: -1s"},
		{"a:1 --timeout -1s", "--timeout: -1s"},
		{"a:1 --duration -1s", "--duration: -1s"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			status, out, errs := output(t, append([]string{"load"}, strings.Fields(test.args)...)...)
			if status != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, test.names) {
				t.Errorf("status %d, stdout %q, stderr %q, want one line with %q", status, out, errs, test.names)
			}
		})
	}
}

// The first signal ends the run, with a result. A second one would end the program.
func TestLoadInterrupt(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) { // under nohup
			continue
		}
		addr, had := dropping(t, 50)
		file := filepath.Join(t.TempDir(), "result.json")
		l := start(t, program(t, "load", addr, "--insecure", "--duration", "1h", "--warmup", "0s", "--connections", "4", "--max-errors", "1000000", "--json", file))
		<-had
		l.signal(sig)
		if sig == syscall.SIGHUP {
			l.signal(sig)
		}
		if line := l.complaint(); !strings.Contains(line, "second signal") {
			t.Errorf("after %v: %q", sig, line)
		}
		status, errs := l.wait()
		b, err := os.ReadFile(file)
		if status != 0 || err != nil {
			t.Fatalf("%v: status %d, stderr %s, %v", sig, status, errs, err)
		}
		var res load.Result
		if err := json.Unmarshal(b, &res); err != nil || res.Stopped != load.Interrupted || res.Handshakes < 40 {
			t.Errorf("%v, result\n%s", err, b)
		}
	}

	// With a silent server, the run stays in its probe.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l := start(t, program(t, "load", silent.Addr().String(), "--insecure", "--timeout", "1h"))
	c, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.signal(syscall.SIGTERM)
	if status, errs := l.wait(); status != 1 || !strings.Contains(errs, "interrupted before it began") {
		t.Errorf("interrupted in its probe: status %d, stderr %s", status, errs)
	}
}
