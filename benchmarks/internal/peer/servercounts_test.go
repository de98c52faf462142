//go:build linux

package peer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCountsSince(t *testing.T) {
	if got := (Counts{50, 40, 30, 20}).Since(Counts{1, 2, 3, 4}); got != (Counts{49, 38, 27, 16}) {
		t.Errorf("%+v", got)
	}
}

func TestParseMetrics(t *testing.T) {
	in := `# HELP jobloop_connections Open connections.
# TYPE jobloop_connections gauge
jobloop_connections{loop="0"} 3
jobloop_connections{loop="1"} 4
jobloop_handshakes_total{result="a} b",version="1.3"} 1e+06 1700000000

go_goroutines 17
# TYPE jobloop_multibuffer_batch_size histogram
jobloop_multibuffer_batch_size_bucket{le="1"} 3
jobloop_multibuffer_batch_size_bucket{le="+Inf"} 5
jobloop_multibuffer_batch_size_sum 12
jobloop_multibuffer_batch_size_count 5
`
	m, err := parseMetrics(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"jobloop_connections": 7, `jobloop_connections{loop="1"}`: 4, "jobloop_handshakes_total": 1e6,
		`jobloop_handshakes_total{result="a} b",version="1.3"}`: 1e6, "go_goroutines": 17, "jobloop_multibuffer_batch_size_count": 5,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s = %v, %t, want %v", name, got, ok, want)
		}
	}
	for _, bad := range []string{"name", "name{a=\"b\"}", "name x"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("no error of %q", bad)
		}
	}
}

// What is scraped is a page of metrics, and nothing else.
func TestScrape(t *testing.T) {
	for body, ok := range map[string]bool{"a 1\n": true, "<html>": false} {
		page := httptest.NewServer(text(body))
		m, err := Scrape(t.Context(), page.URL)
		if (err == nil) != ok || ok && m["a"] != 1 {
			t.Errorf("%q: %v, %v", body, m, err)
		}
		page.Close()
		if _, err := Scrape(t.Context(), page.URL); err == nil {
			t.Error("no error when nobody listens")
		}
	}
	none := httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	if _, err := Scrape(t.Context(), none.URL); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v", err)
	}
}

func TestJobloopCounts(t *testing.T) {
	for _, name := range []string{"jobloop_handshakes_total", oldHandshakes} {
		m, err := parseMetrics(strings.NewReader(strings.ReplaceAll(`jobloop_accepted_total{loop="0"} 11
jobloop_accepted_total{loop="1"} 10
NAME{result="closed",version="none"} 1
NAME{result="full",version="1.2"} 3
NAME{result="full",version="1.3"} 4
NAME{result="resumed",version="1.3"} 13
tlsdemo_http_responses_total{code="200"} 30
tlsdemo_http_responses_total{code="400"} 1
`, "NAME", name)))
		if err != nil {
			t.Fatal(err)
		}
		if got := jobloopCounts(m); got != (Counts{21, 20, 13, 31}) {
			t.Errorf("%s: %+v", name, got)
		}
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
	if err != nil || c != (Counts{8, 3, 2, 28}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := nginxCounts(t.Context(), status.URL, log+"x", 2); err == nil {
		t.Error("no error without a log")
	}
	for _, bad := range []string{"", "Active connections: 1", "server accepts handled requests\n 1 2 99999999999999999999", "server accepts handled requests\n 1 2 x"} {
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
	if err != nil || c != (Counts{6, 5, 1, 5}) {
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
