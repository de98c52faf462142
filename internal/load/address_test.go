package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// This file tests which addresses are loaded.

// names is a Resolver.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	texts, ok := n[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	var ips []netip.Addr
	for _, text := range texts {
		ips = append(ips, netip.MustParseAddr(text))
	}
	return ips, nil
}

// serveAt is serveTLS at an address, with the port of another server if that is not nil.
func serveAt(t *testing.T, ip string, other *server) *server {
	t.Helper()
	port := "0"
	if other != nil {
		_, port, _ = net.SplitHostPort(other.addr())
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, port))
	if err != nil {
		t.Skip(err) // Linux has all of 127.0.0.0/8, others do not
	}
	return serveTLSOn(t, ln)
}

func serveTLSOn(t *testing.T, ln net.Listener) *server {
	t.Helper()
	testkit.CheckLeaks(t)
	config := &tls.Config{Certificates: []tls.Certificate{serverCert()}}
	return serveOn(t, ln, func(s *server, raw net.Conn) {
		s.busy.Add(1)
		if c := tls.Server(raw, config); c.Handshake() == nil {
			s.note(c.ConnectionState())
			s.answer(c)
		}
	})
}

// named is closedConfig with a name for a server's host.
func named(name string, addresses []string, s *server) Config {
	cfg := closedConfig(s)
	_, port, _ := net.SplitHostPort(s.addr())
	cfg.Targets = []string{net.JoinHostPort(name, port)}
	cfg.Resolver = names{name: addresses}
	return cfg
}

// All addresses of a name are loaded in turn, and each has its own figures.
func TestAllAddressesOfAName(t *testing.T) {
	a := serveAt(t, "127.0.0.1", nil)
	b := serveAt(t, "127.0.0.2", a)
	cfg := named(serverName, []string{"127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1"}, a)
	cfg.Loops = 2
	res := mustRunProbes(t, cfg, 2)
	if len(res.Targets) != 2 {
		t.Fatalf("targets %+v", res.Targets)
	}
	for i, s := range []*server{a, b} {
		got := res.Targets[i]
		want(t, "target", got.Target, cfg.Targets[0])
		want(t, "address", got.Address, s.addr())
		want(t, "handshakes", got.Handshakes, cfg.Count/2)
		want(t, "latencies", got.Latency.Count, cfg.Count/2)
		want(t, "server's handshakes", s.handshakes.Load(), cfg.Count/2+1)
		want(t, "server name", s.times("sni "+serverName), int(cfg.Count/2)+1)
	}
	wantSame(t, res, a, b)
	if len(res.Warnings) > 0 {
		for _, w := range res.Warnings {
			if strings.Contains(w, "left out") {
				t.Error(w)
			}
		}
	}
}

// mustRunProbes is mustRun for a run with more probes than targets.
func mustRunProbes(t *testing.T, cfg Config, probes int) *Result {
	t.Helper()
	res := mustRun(t, t.Context(), cfg)
	want(t, "probes", res.Total.Probes, int64(probes))
	return res
}

// An address that cannot be loaded is left out if another of the name can.
func TestAddressIsLeftOut(t *testing.T) {
	s := serveAt(t, "127.0.0.1", nil)
	cfg := named(serverName, []string{"127.0.0.3", "127.0.0.1"}, s)
	cfg.Loops = 2
	res := mustRunProbes(t, cfg, 2)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "targets", len(res.Targets), 1)
	want(t, "address", res.Targets[0].Address, s.addr())
	want(t, "latencies", res.Targets[0].Latency, res.Latency)
	_, port, _ := net.SplitHostPort(s.addr())
	if !slices.ContainsFunc(res.Warnings, func(w string) bool {
		return strings.Contains(w, "127.0.0.3:"+port) && strings.Contains(w, cfg.Targets[0])
	}) {
		t.Errorf("warnings %q name no address", res.Warnings)
	}

	cfg.Resolver = names{serverName: {"127.0.0.3", "127.0.0.4"}}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "127.0.0.3:"+port) || kindOf(err) != kindRefused {
		t.Errorf("without any address that works: %v", err)
	}
	cfg.Targets = append(cfg.Targets, s.addr()) // another target that works does not help
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Error("a run without one of its targets")
	}
}

func TestAddressesAreBounded(t *testing.T) {
	var many []string
	for i := range 3 * maxAddresses {
		many = append(many, fmt.Sprintf("127.0.1.%d", i))
	}
	cfg := Config{Targets: []string{"many.test:1", "127.0.0.1:2"}, Resolver: names{"many.test": many}, Timeout: testkit.Patience}
	found, warnings, err := cfg.lookUp(t.Context())
	if err != nil || len(found) != maxAddresses+1 || len(warnings) != 1 || !strings.Contains(warnings[0], "192 addresses") {
		t.Errorf("%d addresses, warnings %q, %v", len(found), warnings, err)
	}
	for _, addresses := range []names{{}, {"many.test": nil}} {
		cfg.Resolver = addresses
		if _, _, err := cfg.lookUp(t.Context()); err == nil || !strings.Contains(err.Error(), "many.test:1") {
			t.Errorf("a name without an address: %v", err)
		}
	}
}

// An address is only loaded from sources of its kind.
func TestSourcesOfAnAddress(t *testing.T) {
	a := serveAt(t, "127.0.0.1", nil)
	serveAt(t, "::1", a)
	cfg := named(serverName, []string{"::1", "127.0.0.1"}, a)
	cfg.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")}
	cfg.TLS.ServerName = serverName
	res := mustRunProbes(t, cfg, 3)
	want(t, "handshakes", res.Handshakes, cfg.Count)
	want(t, "targets", len(res.Targets), 2)
	want(t, "from 127.0.0.1", a.times("from 127.0.0.1"), int(cfg.Count/4)+1)
	want(t, "from 127.0.0.2", a.times("from 127.0.0.2"), int(cfg.Count/4)+1)

	cfg.Sources = cfg.Sources[:1]
	res = mustRunProbes(t, cfg, 1)
	want(t, "addresses of the source's kind", len(res.Targets), 1)

	cfg.Sources, cfg.Targets = []netip.Addr{netip.MustParseAddr("::1")}, []string{a.addr()}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "source ::1: no target has an address of its kind, IPv6") {
		t.Errorf("a source of the wrong kind: %v", err)
	}
}

func TestUnixSockets(t *testing.T) {
	addresses := []string{filepath.Join(t.TempDir(), "s")}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, fmt.Sprintf("@jobloop-load-test-%p", t))
	}
	for _, address := range addresses {
		for _, name := range []string{"", serverName} {
			ln, err := net.Listen("unix", address)
			if err != nil {
				t.Fatal(err)
			}
			s := serveTLSOn(t, ln)
			cfg := closedConfig()
			cfg.Targets, cfg.TLS.ServerName, cfg.TLS.Insecure = []string{"unix:" + address}, name, name == ""
			cfg.OnEnd = func(e End) {
				if e.Address != cfg.Targets[0] {
					t.Errorf("OnEnd is told of the address %q", e.Address)
				}
			}
			res := mustRun(t, t.Context(), cfg)
			want(t, "handshakes", res.Handshakes, cfg.Count)
			want(t, "address", res.Targets[0].Address, cfg.Targets[0])
			if name == "" {
				name = "localhost"
			}
			want(t, "server name", s.times("sni "+name), int(cfg.Count)+1)
			want(t, "host", s.times("host "+name), int(cfg.Count)+1)
			wantSame(t, res, s)
			ln.Close()
		}
	}
	cfg := closedConfig()
	cfg.Targets = []string{"unix:" + filepath.Join(t.TempDir(), "none")}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), cfg.Targets[0]) {
		t.Errorf("no socket: %v", err)
	}
}

// The zone of an IPv6 address is used to connect and for nothing else.
func TestZone(t *testing.T) {
	e, err := parseTarget("[fe80::1%eth0]:443")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "address", e.address, "[fe80::1%eth0]:443")
	want(t, "host", e.host, "fe80::1")
	cfg := Config{}
	full, _ := cfg.tlsConfigs(e.host, newCertificates(), new(session))
	want(t, "name to verify", full.ServerName, "fe80::1")
	if text := string(requestText("/", full.ServerName, e.port, true)); !strings.Contains(text, "\r\nHost: [fe80::1]\r\n") {
		t.Errorf("request %q", text)
	}
}
