//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

func TestCountersTable(t *testing.T) {
	what := combination{"rsa2048", "1.3", "full"}
	same := serverCounts{11, 10, 0, 10}
	good := &countersResult{Server: "a", What: what, Client: same, Counts: same}
	if _, err := countersTable([]*countersResult{good}); err != nil {
		t.Error(err)
	}
	for i, other := range []serverCounts{{12, 10, 0, 10}, {11, 9, 0, 10}, {11, 10, 1, 10}, {11, 10, 0, 11}} {
		tab, err := countersTable([]*countersResult{good, {Server: "b", What: what, Client: same, Counts: other}})
		if err == nil || !strings.HasPrefix(err.Error(), "b, rsa2048, TLS 1.3, full: the client counts") {
			t.Errorf("%+v beside %+v: error %v", same, other, err)
		}
		if tab.Rows[0][5] != "yes" || tab.Rows[1][5] != "NO" || strings.Count(fmt.Sprint(tab.Rows[1]), "(") != 1 || !strings.Contains(tab.Rows[1][1+i], "(") {
			t.Errorf("rows %q", tab.Rows)
		}
	}
	if _, err := countersTable([]*countersResult{{Server: "b", Client: same, Counts: same, Errors: 1}}); err == nil {
		t.Error("no error of a load in which a handshake failed")
	}
}

// Both sides are asked, the server before and after; and the client must have
// reached it.
func TestCount(t *testing.T) {
	keys, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	what := combination{"ecdsa-p256", "1.3", "full"}
	c := &counters{options: options{ServerCPU: -1, ClientCPU: -1}, Count: 1000}
	count := func(spoil func(*load.Result)) (*countersResult, error) {
		var o serverOptions
		fake := fakeServer(t, "us", &o)
		program := "" // the client, which knows the certificate when the server has been started with it
		asked := int64(0)
		us := contender{"us", func(ctx context.Context, o serverOptions) (*server, error) {
			s, err := fake.start(ctx, o)
			if err == nil {
				s.counts = func(context.Context) (serverCounts, error) {
					asked++
					return serverCounts{1001 * asked, 1001 * asked, 0, 1001 * asked}, nil
				}
			}
			res := goodLoad(what)
			res.Certificates[0].SHA256 = o.cert.sha256
			res.Total = load.Total{Begun: 1001, Handshakes: 1001, Requests: 1001}
			spoil(res)
			client, _ := fakeClient(t, res)
			return s, errors.Join(err, os.Symlink(client, program))
		}}
		program = filepath.Join(t.TempDir(), "client")
		return c.count(t.Context(), us, keys, program, what, new(agreement))
	}
	res, err := count(func(*load.Result) {})
	if err != nil || res.check() != nil || res.Counts.Handshakes != 1001 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := count(func(r *load.Result) { r.Certificates[0].SHA256 = "beef" }); err == nil || !strings.Contains(err.Error(), "beef") {
		t.Errorf("with another server's certificate: %v", err)
	}
}

func TestCountsSince(t *testing.T) {
	if got := (serverCounts{50, 40, 30, 20}).since(serverCounts{1, 2, 3, 4}); got != (serverCounts{49, 38, 27, 16}) {
		t.Errorf("%+v", got)
	}
	total := load.Total{Begun: 4, Handshakes: 3, Resumed: 2, Requests: 1, Errors: 9, Canceled: 9, Probes: 9}
	if got := clientCounts(&total); got != (serverCounts{4, 3, 2, 1}) {
		t.Errorf("%+v", got)
	}
}

func TestJobloopCounts(t *testing.T) {
	m, err := parseMetrics(strings.NewReader(`jobloop_accepted_total{loop="0"} 11
jobloop_accepted_total{loop="1"} 10
tlsdemo_handshakes_total{result="closed",version="none"} 1
tlsdemo_handshakes_total{result="full",version="1.2"} 3
tlsdemo_handshakes_total{result="full",version="1.3"} 4
tlsdemo_handshakes_total{result="resumed",version="1.3"} 13
tlsdemo_http_responses_total{code="200"} 30
tlsdemo_http_responses_total{code="400"} 1
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := jobloopCounts(m); got != (serverCounts{21, 20, 13, 31}) {
		t.Errorf("%+v", got)
	}
}

const stubStatusPage = "Active connections: 1 \nserver accepts handled requests\n 11 10 30 \nReading: 0 Writing: 1 Waiting: 0 \n"

// text answers everything with the same.
type text string

func (s text) ServeHTTP(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, string(s)) }

func TestNginxCounts(t *testing.T) {
	status := httptest.NewServer(text(stubStatusPage))
	defer status.Close()
	log := filepath.Join(t.TempDir(), "log")
	// A full handshake with three requests, and two resumed, one with two.
	if err := os.WriteFile(log, []byte("1 .\n2 .\n1 r\n3 .\n2 r\n1 r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := nginxCounts(t.Context(), status.URL, log, 2)
	if err != nil || c != (serverCounts{8, 3, 2, 28}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := nginxCounts(t.Context(), status.URL, log+"x", 2); err == nil {
		t.Error("no error without a log")
	}
	for _, bad := range []string{"", "Active connections: 1", "server accepts handled requests\n 1 2 99999999999999999999"} {
		if _, err := parseStubStatus([]byte(bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

// haproxySays is what HAProxy 2.6 prints, without most of its lines and columns.
const haproxySays = `Name: HAProxy
CumConns: 9
CumReq: 8
CumSslConns: 6

# pxname,svname,req_tot,-,ssl_sess,ssl_reused_sess,
tls,FRONTEND,5,,4,1,

`

func TestParseHAProxy(t *testing.T) {
	c, err := parseHAProxy([]byte(haproxySays), 3)
	if err != nil || c != (serverCounts{6, 5, 1, 5}) {
		t.Errorf("%+v, %v", c, err)
	}
	for old, new := range map[string]string{
		"CumReq: 8":      "CumReq: 9", // one more than it answered
		"CumSslConns: 6": "CumSslConns: six",
		"CumConns: 9":    "CumConns: 9",
		"CumReq":         "CumReqs",
		"ssl_sess":       "sessions",
		"tls,FRONTEND":   "tls,BACKEND",
		",4,1,":          ",x,1,",
		"\n# ":           "\n",
		"tls,":           "tls,\"",
	} {
		_, err := parseHAProxy([]byte(strings.ReplaceAll(haproxySays, old, new)), 3)
		if (err == nil) != (old == new) {
			t.Errorf("with %q: error %v", new, err)
		}
	}
}

// The peers must count what a client did: full handshakes and resumed ones, in
// both versions, and requests.
func TestPeerCounters(t *testing.T) {
	k, err := newKeys(t.TempDir(), "ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := k.certificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{nameGoroutines, nameFrugal, "nethttp", "fasthttp"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(kind+" "+tls.VersionName(version), func(t *testing.T) {
				config, err := tlsConfig(cert.certFile, cert.keyFile)
				if err != nil {
					t.Fatal(err)
				}
				config.SessionTicketsDisabled = false
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				p := &peer{Kind: kind, IdleTimeout: ioTimeout}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- p.serve(ctx, p.counts.watch(ln, config), config) }()
				client := clientConfig.Clone()
				client.MinVersion, client.MaxVersion = version, version
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				for range 3 {
					nc, err := dial(t.Context(), new(net.Dialer), ln.Addr().String())
					if err != nil {
						t.Fatal(err)
					}
					c := tls.Client(nc, client)
					for range 2 {
						if err := exchange(c, make([]byte, 4096)); err != nil {
							t.Fatal(err)
						}
					}
					c.Close()
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				page := httptest.NewServer(&p.counts)
				defer page.Close()
				counts, err := scrapeCounts(t.Context(), page.URL, peerCounts)
				if err != nil || counts != (serverCounts{3, 3, 2, 6}) {
					t.Errorf("%+v, %v", counts, err)
				}
			})
		}
	}
}
