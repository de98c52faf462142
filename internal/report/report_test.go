package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

func pageOf(t *testing.T, runs ...Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, runs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pages returns a page of every kind.
func pages(t *testing.T) map[string]string {
	return map[string]string{
		"one":      pageOf(t, Run{"jobloop", result(6000, 9000)}),
		"failing":  pageOf(t, Run{"failing", failing()}),
		"sweep":    pageOf(t, Run{"sweep", swept()}),
		"ending":   pageOf(t, Run{"ending", ending()}),
		"empty":    pageOf(t, Run{"empty", empty()}),
		"zero":     pageOf(t, Run{"", new(load.Result)}),
		"hostile":  pageOf(t, Run{markup, hostile()}),
		"compared": pageOf(t, Run{"a", result(6000, 9000)}, Run{"b", failing()}, Run{"c", swept()}, Run{"d", empty()}, Run{markup, hostile()}),
	}
}

// walk calls f with each element of a page. Pages are also well-formed XML.
func walk(t *testing.T, page string, f func(xml.StartElement)) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			f(e)
		}
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	known := make(map[string]bool)
	for _, name := range strings.Fields("html head meta title style body main header p h1 h2 section ul li b span dl div dt dd figure figcaption small table thead tbody tr th td a details summary svg g path text script") {
		known[name] = true
	}
	for name, page := range pages(t) {
		t.Run(name, func(t *testing.T) {
			ids, policy := make(map[string]bool), ""
			var links []string
			walk(t, page, func(e xml.StartElement) {
				if !known[e.Name.Local] {
					t.Errorf("element %s", e.Name.Local)
				}
				for _, a := range e.Attr {
					v := a.Value
					switch n := strings.ToLower(a.Name.Local); {
					case n == "src" || n == "srcset" || n == "action" || n == "data" || strings.HasPrefix(n, "on"):
						t.Errorf("<%s %s=%q>", e.Name.Local, n, v)
					case n == "href":
						links = append(links, v)
					case n == "id":
						if ids[v] {
							t.Errorf("id %s twice", v)
						}
						ids[v] = true
					case n == "style" && strings.Contains(v, "url"):
						t.Errorf("style %q", v)
					case n == "http-equiv" && v == "Content-Security-Policy":
						policy = e.Attr[1].Value
					}
				}
			})
			if n := strings.Count(page, "<style"); n != 1 {
				t.Errorf("%d style sheets", n)
			}
			// The browser runs the page's own script and no other.
			_, script, _ := strings.Cut(page, "<script>")
			script, _, _ = strings.Cut(script, "</script>")
			sum := sha256.Sum256([]byte(script))
			if policy != "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'" {
				t.Errorf("policy %q", policy)
			}
			if n := strings.Count(page, "<script"); n != 1 {
				t.Errorf("%d scripts", n)
			}
			for _, l := range links {
				if !strings.HasPrefix(l, "#") || !ids[l[1:]] {
					t.Errorf("link to %s", l)
				}
			}
			for _, no := range []string{"@import", "url(", "innerhtml", "eval(", "insertadjacent"} {
				if strings.Contains(strings.ToLower(page), no) {
					t.Errorf("%s in the page", no)
				}
			}
			for _, u := range regexp.MustCompile(`https?://[^"]*`).FindAllString(page, -1) {
				if u != "http://www.w3.org/2000/svg" {
					t.Errorf("address %s", u)
				}
			}
		})
	}
}

func TestPageShowsHostileTextAsText(t *testing.T) {
	page := pageOf(t, Run{markup, hostile()})
	for _, no := range []string{"<script>alert", "<img", "alert(\"1\")", "ZgotmplZ"} {
		if strings.Contains(page, no) {
			t.Errorf("%s in the page", no)
		}
	}
	shown := make(map[string]int) // by the element around it
	d := xml.NewDecoder(strings.NewReader(page))
	at := ""
	for tok, err := d.Token(); err == nil; tok, err = d.Token() {
		switch tok := tok.(type) {
		case xml.StartElement:
			at = tok.Name.Local
		case xml.CharData:
			if strings.Contains(string(tok), markup) {
				shown[at]++
			}
		}
	}
	for _, el := range []string{"title", "h1", "b", "li", "td", "th", "dd", "span"} {
		if shown[el] == 0 {
			t.Errorf("no <%s> shows it as it is: %v", el, shown)
		}
	}
}

func TestPageIsDarkAndLight(t *testing.T) {
	page := pageOf(t, Run{"a", result(6000, 9000)})
	light, dark, ok := strings.Cut(styleText, "@media screen and (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no style for the dark")
	}
	dark, _, _ = strings.Cut(dark, "\n}\n")
	used := regexp.MustCompile(`var\((--[a-z-]+)\)`).FindAllStringSubmatch(styleText, -1)
	if len(used) < 10 {
		t.Fatalf("%d variables used", len(used))
	}
	for _, v := range used {
		for mode, css := range map[string]string{"light": light, "dark": dark} {
			if !regexp.MustCompile(v[1] + ": (#|rgb)").MatchString(css) {
				t.Errorf("%s is not defined for %s", v[1], mode)
			}
		}
	}
	if !strings.Contains(page, chart.CSS()) || !strings.Contains(page, styleText) {
		t.Error("a style sheet is not in the page as it is")
	}
}

func TestPageIsTheSameEachTime(t *testing.T) {
	one, other := pages(t), pages(t)
	for name := range one {
		if one[name] != other[name] {
			t.Errorf("%s differs", name)
		}
	}
}

func TestPageOfOneRun(t *testing.T) {
	r := failing()
	page := pageOf(t, Run{"after the change", r})
	for _, want := range []string{
		"<h1>after the change</h1>", "TLS_AES_128_GCM_SHA256", "ended early: too many errors", r.Warnings[1],
		`<dd class="value">900<span class="unit"> /s</span></dd><dd class="sub">9,000, due in 10.0` + "\u00a0s",
		`<dd class="value">88.0<span class="unit"> ms</span>`, `<dd class="value">2.73<span class="unit"> s</span>`,
		"97.0\u00a0% busy: may be the limit", "20.4\u00a0% of all, 310 never begun, 200 gave up", "Clients that gave up, after", "750\u00a0ms", `of these, clients that gave up</th><td class="num">221<`,
		"Start delay", "connection refused", "The shaded part (warm-up) counts only in the totals.", `class="chart-span"`, "CN=demo.example", "192.0.2.7:8443",
		`Connections at a time, maximum</th><td class="num">64<`,
		`<dt>Started</dt><dd>2026-03-01 12:00:00 UTC</dd>`,
		`<dt>Tool</dt><dd>tlsdemo v1.2.3, commit 0123456789ab, go1.26.0, linux/amd64</dd>`,
		`<dt>Command</dt><dd class="code"><span>tlsdemo</span> <span>load</span> <span>--duration</span> <span>10s</span> <span>server.example:8443</span></dd>`,
		`<dt>Client</dt><dd>client.example, Example CPU @ 2.00GHz, 2 cores, Linux 6.12.0, amd64</dd>`,
		`<dt>Server</dt><dd>not known; load&#39;s --server records it</dd>`,
		`tlsdemo</th><td class="text">v1.2.3, commit 0123456789ab, go1.26.0, linux/amd64</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, no := range []string{"Knee", "no data", "<details class=\"run", "First byte"} {
		if strings.Contains(page, no) {
			t.Errorf("%q is of another page", no)
		}
	}
	if i, j := strings.Index(page, `<th scope="row" class="short">timeout`), strings.Index(page, `<th scope="row" class="short">not begun`); i < 0 || j < i {
		t.Errorf("the most frequent error is not the first: %d, %d", i, j)
	}
}

func TestPageOfNothing(t *testing.T) {
	page := pageOf(t, Run{"", new(load.Result)})
	if n := strings.Count(page, "no data"); n != 8 {
		t.Errorf("%d charts of two sizes say that they have no data", n)
	}
	shown, _, _ := strings.Cut(page, "<script>")
	for _, no := range []string{"NaN", "Inf"} {
		if strings.Contains(shown, no) {
			t.Errorf("%q in the page", no)
		}
	}
	if !strings.Contains(page, "<h1>run 1</h1>") {
		t.Error("a run without a name has none")
	}
}

func TestPageOfSweep(t *testing.T) {
	page := pageOf(t, Run{"s", swept()})
	for _, want := range []string{
		`Knee of the sweep</dt><dd class="value">4,000<span class="unit"> /s</span></dd><dd class="sub">above it: p99 rose above 1 s`,
		`class="strong num">4,000` + "\u00a0/s <small>knee</small>", "knee, 4,000\u00a0/s", "no <small>p99 49 ms</small>", "Best step",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(page, "<small>knee</small>"); n != 1 {
		t.Errorf("%d knees", n)
	}
}

func TestRunsThatCannotBe(t *testing.T) {
	for name, runs := range map[string][]Run{"none": nil, "too many": make([]Run, MaxRuns+1), "no result": {{"x", nil}}} {
		if err := Write(io.Discard, runs); !errors.Is(err, ErrRuns) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := result(1, 1)
	long.Series = make([]load.Point, 100_000)
	if err := Write(io.Discard, []Run{{"long", long}}); !errors.Is(err, chart.ErrTooMuch) || !strings.Contains(err.Error(), `"long"`) {
		t.Errorf("a series too long: %v", err)
	}
	many := result(1, 1)
	for i := range 1000 {
		many.Targets = append(many.Targets, load.Target{Target: fmt.Sprintf("host-%d:443", i)})
	}
	if page := pageOf(t, Run{"many", many}); !strings.Contains(page, "901 more are not shown") || strings.Contains(page, "host-500:") {
		t.Error("a table of 1001 rows is not cut off")
	}
}

func TestMostOf(t *testing.T) {
	r := result(100, 1000)
	r.Negotiated = append(r.Negotiated, load.Negotiated{Version: "TLS 1.2", Cipher: "C", Resumed: true, Handshakes: 5000})
	r.Certificates = append(r.Certificates, load.Certificate{Key: "ECDSA P-256", Handshakes: 5000})
	if got := strings.Join(mostOf(r), ", "); got != "TLS 1.2, C, resumed, ECDSA P-256" {
		t.Errorf("most handshakes were %s", got)
	}
	if rows := negotiatedTable(r).Rows; rows[0][0].Text != "TLS 1.2" || rows[1][0].Text != "TLS 1.3" {
		t.Errorf("the most frequent is not the first: %v", rows)
	}
}

func TestTotals(t *testing.T) {
	r := result(400, 3000)
	rows := func() string {
		var b strings.Builder
		for _, row := range totalsTable(r).Rows {
			fmt.Fprintf(&b, "%s: %s\n", row[0].Text, row[1].Text)
		}
		return b.String()
	}
	if got := rows(); !strings.Contains(got, "Cut off at the end: 1\nProbes") {
		t.Errorf("not cut off by an interrupt:\n%s", got)
	}
	r.Total.Aborted = map[string]int64{"connected": 2, "in the hello": 3}
	if got := rows(); !strings.Contains(got, "Clients that aborted, in the hello: 3\nClients that aborted, connected: 2\nCut off") {
		t.Errorf("clients that aborted are not shown:\n%s", got)
	}
	r.Total.OldestCanceled = 1_234_000
	if got := rows(); !strings.Contains(got, "Cut off at the end: 1\nage of the oldest of these: 1.23\u00a0s\n") {
		t.Errorf("the age is not shown:\n%s", got)
	}
}

// Each target has its own figures.
func TestTargetsApart(t *testing.T) {
	r := result(400, 3000)
	r.Targets = []load.Target{
		{Target: "a:443", Address: "192.0.2.1:443", Handshakes: 5000, Latency: load.Percentiles{Count: 5000, P50: 1000, P99: 2000, Max: 3000}},
		{Target: "b:443", Address: "192.0.2.2:443", Handshakes: 7, Errors: 1}, // as older results have it
	}
	var got strings.Builder
	for _, row := range targetsTable(r).Rows {
		for _, c := range row {
			got.WriteString(strings.ReplaceAll(c.Text, "\u00a0", " ") + "|")
		}
	}
	if want := "a:443|192.0.2.1:443|5,000|0|1.00 ms|2.00 ms|3.00 ms|b:443|192.0.2.2:443|7|1|–|–|–|"; got.String() != want {
		t.Errorf("the table is %s, want %s", got.String(), want)
	}
}
