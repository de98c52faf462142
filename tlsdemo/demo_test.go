package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// wantRows checks that the demo's table has rows whose cells match these patterns.
func wantRows(t *testing.T, out string, rows ...string) {
	t.Helper()
	for _, row := range rows {
		pattern := `(?m)^  ` + strings.ReplaceAll(row, "|", "  +") + `$`
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("no row %s in\n%s", row, out)
		}
	}
}

// threads is the number of threads that ran jobs, as the demo prints it.
func threads() string {
	if runtime.GOOS == "linux" {
		return "1"
	}
	return "unknown"
}

func TestDemo(t *testing.T) {
	for _, key := range keyKinds {
		status, out, errs := output(t, "--handshakes", "20", "--clients", "8", "--duration", "5m", "--key", key)
		if status != 0 || errs != "" {
			t.Errorf("%s: exit status %d, stderr: %s", key, status, errs)
		}
		if strings.HasPrefix(key, "rsa") && multibuffer.Supported() == nil {
			if !strings.Contains(out, "\nplain signatures, then engine multibuffer (RSA key, this CPU has AVX-512 IFMA)\n") {
				t.Errorf("%s: the two ways are not told:\n%s", key, out)
			}
			wantRows(t, out, `                     |plain|multibuffer|ratio`,
				`handshakes|20 verified, 0 failed|20 verified, 0 failed`, `TLS 1\.3, TLS 1\.2|10, 10|10, 10`,
				`per second|\d+|\d+|\d+\.\d\d`, `latency p99|[\d.]+ ms|[\d.]+ ms|\d+\.\d\d`,
				`signatures together|-|[1-8]\.\d of 8`, `pauses per handshake|[01]\.\d\d|[12]\.\d\d`,
				`most jobs in flight|[1-8], of 8 clients|[1-8], of 8 clients`,
				`threads that ran jobs|`+threads()+`|`+threads())
		} else {
			if !strings.Contains(out, "\nplain signatures only, engine none (") {
				t.Errorf("%s: it is not told why there is one way only:\n%s", key, out)
			}
			wantRows(t, out, `handshakes|20 verified, 0 failed`, `TLS 1\.3, TLS 1\.2|10, 10`, `per second|\d+`,
				`latency p50|[\d.]+ ms`, `latency max|[\d.]+ ms`, `pauses per handshake|[01]\.\d\d`,
				`most jobs in flight|[1-8], of 8 clients`, `threads that ran jobs|`+threads())
		}
	}
}

func TestDemoEngines(t *testing.T) {
	args := []string{"--handshakes", "10", "--clients", "4", "--duration", "5m", "--key", "rsa2048", "--engine"}
	status, out, errs := output(t, append(args, "offload")...)
	if status != 0 || errs != "" {
		t.Errorf("offload: exit status %d, stderr: %s", status, errs)
	}
	wantRows(t, out, `                     |plain|offload|ratio`, `handshakes|10 verified, 0 failed|10 verified, 0 failed`)
	if runtime.GOOS == "linux" { // the loop's time does not include the workers'
		wantRows(t, out, `loop's CPU for each|\d+ µs|\d+ µs, less signing`)
	}

	status, out, errs = output(t, append(args, "none")...)
	if status != 0 || errs != "" || !strings.Contains(out, "plain signatures only, engine none (as asked for)") {
		t.Errorf("none: exit status %d, stderr: %s, stdout:\n%s", status, errs, out)
	}
	wantRows(t, out, `handshakes|10 verified, 0 failed`)
}

func TestDemoWithoutMultibuffer(t *testing.T) {
	withoutMultibuffer(t)
	args := []string{"--handshakes", "10", "--clients", "4", "--duration", "5m"}
	status, out, errs := output(t, args...)
	if status != 0 || errs != "" || !strings.Contains(out, "plain signatures only, engine none (RSA key, but multibuffer: not supported: FIPS 140 mode is on)\n") {
		t.Errorf("auto: exit status %d, stderr: %s, stdout:\n%s", status, errs, out)
	}
	wantRows(t, out, `handshakes|10 verified, 0 failed`)

	status, out, errs = output(t, append(args, "--engine", "multibuffer")...)
	if status != 0 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "using engine offload instead") {
		t.Errorf("multibuffer: exit status %d, stderr: %s", status, errs)
	}
	wantRows(t, out, `                     |plain|offload|ratio`, `handshakes|10 verified, 0 failed|10 verified, 0 failed`)
}

// fakeRun is a run of one second with so many handshakes, each of ms milliseconds.
func fakeRun(name string, kind engineKind, handshakes int, ms int64) *demoRun {
	r := &demoRun{name: name, engine: kind, meter: newMeter(), clients: newClients("", 64, 0, nil),
		elapsed: time.Second, cpu: 500 * time.Millisecond, cpuKnown: true}
	for range handshakes {
		r.clients.latency.RecordValue(1000 * ms)
		r.clients.versions[tls.VersionTLS13]++
		r.clients.finished.Add(1)
	}
	r.meter.pauses, r.meter.handshakes, r.meter.most = uint64(2*handshakes), handshakes, 5
	r.meter.threads[1] = true
	return r
}

func TestDemoTable(t *testing.T) {
	var b bytes.Buffer
	demoTable(&b, []*demoRun{fakeRun("plain", engineNone, 100, 50), fakeRun("offload", engineOffload, 250, 10)})
	want := `                         plain                   offload                 ratio
  handshakes             100 verified, 0 failed  250 verified, 0 failed
  TLS 1.3, TLS 1.2       100, 0                  250, 0
  per second             100                     250                     2.50
  latency p50            50.0 ms                 10.0 ms                 0.20
  latency p90            50.0 ms                 10.0 ms                 0.20
  latency p99            50.0 ms                 10.0 ms                 0.20
  latency max            50.0 ms                 10.0 ms                 0.20
  loop's CPU for each    5000 µs                 2000 µs, less signing
  pauses per handshake   2.00                    2.00
  most jobs in flight    5, of 64 clients        5, of 64 clients
  threads that ran jobs  1                       1
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}

	b.Reset()
	nothing := fakeRun("plain", engineNone, 0, 0) // on a system that tells no CPU time or thread IDs
	nothing.cpuKnown, nothing.meter.unknown = false, true
	demoTable(&b, []*demoRun{nothing})
	want = `  handshakes             0 verified, 0 failed
  TLS 1.3, TLS 1.2       0, 0
  per second             0
  most jobs in flight    5, of 64 clients
  threads that ran jobs  unknown
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

// A demo without a single handshake has failed.
func TestDemoWithoutHandshakes(t *testing.T) {
	status, _, errs := output(t, "--duration", "1ns", "--key", "ed25519")
	if status != 1 || !strings.Contains(errs, "no handshake") {
		t.Errorf("exit status %d, stderr: %s", status, errs)
	}
}

// Clients that do not trust the server's certificate fail. Failures are counted in every
// run.
func TestDemoCountsFailures(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	good := &demoRun{name: "plain", meter: newMeter(), elapsed: time.Second,
		clients: newClients(s.addr, 2, 4, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})}
	bad := &demoRun{name: "multibuffer", meter: newMeter(), elapsed: time.Second,
		clients: newClients(s.addr, 2, 4, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"})}
	for i, runs := range [][]*demoRun{{good, bad}, {bad, good}, {bad}} {
		if i == 0 {
			good.clients.run(t.Context())
			bad.clients.run(t.Context())
		}
		var out, errs bytes.Buffer
		err := summarize(&console{&out, &errs}, runs)
		if want := fmt.Sprintf("4 of %d handshakes failed", 4*len(runs)); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if !strings.Contains(out.String(), "0 verified, 4 failed") || !strings.Contains(errs.String(), "multibuffer, 4 times: handshake: ") {
			t.Errorf("stdout:\n%s\nstderr:\n%s", &out, &errs)
		}
	}
	if err := summarize(&console{new(bytes.Buffer), new(bytes.Buffer)}, []*demoRun{good}); err != nil {
		t.Errorf("error %v of a run in which all worked", err)
	}
	s.stop()
}
