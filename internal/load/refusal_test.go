package load

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"
)

// In TLS 1.3, a server refuses a client after the client's handshake is done. The probe
// sees this, and so do connections that end without a reset.
func TestRefusalAfterTheHandshake(t *testing.T) {
	s := serveTLS(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, nil)
	cfg := closedConfig(s)
	cfg.TLS.Version, cfg.Request = tls.VersionTLS13, ""
	if res, err := Run(t.Context(), cfg); res != nil || err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("result %v, error %v, want one with the alert", res, err)
	}

	s = failing(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, nil)
	cfg = closedConfig(s)
	cfg.TLS.Version, cfg.Request, cfg.Reset, cfg.Count, cfg.Connections = tls.VersionTLS13, "", false, 2, 2
	wantErrors(t, mustRun(t, t.Context(), cfg), "alert: certificate required", 2)
}

// If the server has stalled when the run is interrupted, the result says how long the
// oldest connection has waited.
func TestInterruptedStall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const stall = 1100 * time.Millisecond // there is a warning if it is more than a second
	s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
		if s.requests.Load() == 0 { // the probe
			s.answer(c)
			return
		}
		time.AfterFunc(stall, cancel)
		io.Copy(io.Discard, c)
	})
	cfg := closedConfig(s)
	cfg.Count, cfg.Duration, cfg.Connections = 0, time.Hour, 1
	res := mustRun(t, ctx, cfg)
	want(t, "cut off", res.Total.Canceled, 1)
	if age := time.Duration(res.Total.OldestCanceled) * time.Microsecond; age < stall {
		t.Errorf("the oldest had been due for %v, want %v at least", age, stall)
	}
	if !strings.Contains(strings.Join(res.Warnings, "\n"), "cut off") {
		t.Errorf("warnings %q, want one of the connection that was cut off", res.Warnings)
	}
}
