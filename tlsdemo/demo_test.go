package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestDemo(t *testing.T) {
	for _, key := range keyKinds {
		status, out, errs := output(t, "--handshakes", "20", "--clients", "8", "--duration", "5m", "--key", key)
		if status != 0 || errs != "" {
			t.Errorf("%s: exit status %d, stderr: %s", key, status, errs)
		}
		if !strings.Contains(out, "20 verified (TLS 1.3: 10, TLS 1.2: 10), 0 failed") {
			t.Errorf("%s: wrong counts:\n%s", key, out)
		}
		threads := "1"
		if runtime.GOOS != "linux" {
			threads = "unknown"
		}
		for _, want := range []string{
			`per second +\d`, `latency +p50 .* ms, p90 .* ms, p99 .* ms, max .* ms`,
			`most jobs in flight +[1-8] `, `threads that ran jobs +` + threads, `pauses per handshake +\d\.\d\d`,
		} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s: no %q in\n%s", key, want, out)
			}
		}
	}
}

// A demo that is over before anything was done has not shown anything.
func TestDemoWithoutHandshakes(t *testing.T) {
	status, _, errs := output(t, "--duration", "1ns", "--key", "ed25519")
	if status != 1 || !strings.Contains(errs, "no handshake") {
		t.Errorf("exit status %d, stderr: %s", status, errs)
	}
}

// Clients that do not trust the server's certificate fail, and are counted.
func TestDemoCountsFailures(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	cs := newClients(s.addr, 2, 4, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"})
	cs.run(t.Context())
	var out, errs bytes.Buffer
	err := summarize(&console{&out, &errs}, cs, newMeter(), time.Second)
	if err == nil || err.Error() != "4 of 4 handshakes failed" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "0 verified") || !strings.Contains(errs.String(), "4 times: handshake: ") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", &out, &errs)
	}
	s.stop()
}
