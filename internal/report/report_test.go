package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
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

// pages are of every kind that there is.
func pages(t *testing.T) map[string]string {
	return map[string]string{
		"one":      pageOf(t, Run{"jobloop", result(6000, 9000)}),
		"failing":  pageOf(t, Run{"failing", failing()}),
		"sweep":    pageOf(t, Run{"sweep", swept()}),
		"empty":    pageOf(t, Run{"empty", empty()}),
		"zero":     pageOf(t, Run{"", new(load.Result)}),
		"hostile":  pageOf(t, Run{markup, hostile()}),
		"compared": pageOf(t, Run{"a", result(6000, 9000)}, Run{"b", failing()}, Run{"c", swept()}, Run{"d", empty()}, Run{markup, hostile()}),
	}
}

// walk calls f with each element of a page, whose template keeps to what is
// well-formed XML too.
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
	for _, name := range strings.Fields("html head meta title style body main header p h1 h2 section ul li b span dl div dt dd figure figcaption small table thead tbody tr th td a details summary pre svg g path text") {
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
			if !strings.HasPrefix(policy, "default-src 'none'; style-src 'unsafe-inline';") {
				t.Errorf("policy %q", policy)
			}
			for _, l := range links {
				if !strings.HasPrefix(l, "#") || !ids[l[1:]] {
					t.Errorf("link to %s", l)
				}
			}
			for _, no := range []string{"<script", "@import", "url("} {
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
	for _, no := range []string{"<script>", "<img", "alert(\"1\")", "ZgotmplZ"} {
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
	for _, el := range []string{"title", "h1", "b", "li", "td", "th", "pre", "span"} {
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
			if !strings.Contains(css, v[1]+": #") {
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
		`<dd class="value">900<span class="unit"> /s</span></dd><dd class="sub">9,000 in 10.0` + "\u00a0s",
		`<dd class="value">88.0<span class="unit"> ms</span>`, `<dd class="value">2.73<span class="unit"> s</span>`,
		"97.0\u00a0% busy: it limits", "20.4\u00a0% of all, 310 never begun",
		"Start delay", "connection refused", "The shaded part is warm-up", `class="chart-span"`, "CN=demo.example", "192.0.2.7:8443",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, no := range []string{"Knee", "no data", "<details", "First byte"} {
		if strings.Contains(page, no) {
			t.Errorf("%q is of another page", no)
		}
	}
	if i, j := strings.Index(page, "<th scope=\"row\" class=\"\">timeout"), strings.Index(page, "<th scope=\"row\" class=\"\">not begun"); i < 0 || j < i {
		t.Errorf("the most frequent error is not the first: %d, %d", i, j)
	}
}

func TestPageOfNothing(t *testing.T) {
	page := pageOf(t, Run{"", new(load.Result)})
	if n := strings.Count(page, "no data"); n != 4 {
		t.Errorf("%d charts say that they have no data", n)
	}
	for _, no := range []string{"NaN", "Inf"} {
		if strings.Contains(page, no) {
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
		`class="strong">4,000` + "\u00a0/s <small>knee</small>", "knee, 4,000 /s", "no <small>p99 49 ms</small>", "Best step",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(page, "<small>knee</small>"); n != 1 {
		t.Errorf("%d knees", n)
	}
}

func TestComparison(t *testing.T) {
	a, b := result(6000, 9000), result(9000, 4500)
	b.Settings.Flags = map[string]string{"connections": "128", "duration": "10s", "tls": "1.3", "curve": "X25519", "resume": "none"}
	b.Warnings = []string{"a doubt"}
	v, err := compare([]Run{{"a", a}, {"b", b}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]cell)
	for _, row := range v.Figures.Rows {
		got[row[0].Text] = row[2]
		if row[1].Sub != "" {
			t.Errorf("%s: the first run is compared with itself: %s", row[0].Text, row[1].Sub)
		}
	}
	for name, want := range map[string][3]string{
		"Handshakes per second":    {"9,000\u00a0/s", "1.50× better", "better"},
		"Latency p50":              {"4.50\u00a0ms", "0.500× better", "better"},
		"Latency p99":              {"17.6\u00a0ms", "0.500× better", "better"},
		"Handshakes":               {"90,000", "", ""},
		"Client CPU per handshake": {"45.6\u00a0µs", "0.667×", ""},
	} {
		if c := got[name]; c.Text != want[0] || c.Sub != want[1] || c.Class != want[2] {
			t.Errorf("%s: %+v, want %q", name, c, want)
		}
	}
	if _, ok := got["Knee of the sweep"]; ok {
		t.Error("a knee without a sweep")
	}
	if len(v.Differ.Rows) != 1 || v.Differ.Rows[0][0].Text != "connections" || v.Differ.Rows[0][2].Text != "128" {
		t.Errorf("what differs: %v", v.Differ.Rows)
	}
	if len(v.Warnings) != 1 || v.Warnings[0] != (runWarning{"b", "a doubt"}) {
		t.Errorf("warnings: %v", v.Warnings)
	}
	page := pageOf(t, Run{"a", a}, Run{"b", b})
	if n := strings.Count(page, `<details class="run"`); n != 2 {
		t.Errorf("%d runs in detail", n)
	}
}

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		v, base        float64
		b              better
		written, class string
	}{
		{2, 1, more, "2.00× better", "better"},
		{2, 1, less, "2.00× worse", "worse"},
		{1, 2, more, "0.500× worse", "worse"},
		{1, 2, less, "0.500× better", "better"},
		{1.019, 1, more, "1.02×", ""},
		{3, 1, neither, "3.00×", ""},
		{1, 0, more, "", ""},
		{0, 0, less, "", ""},
		{math.NaN(), 1, less, "", ""},
		{1, math.NaN(), less, "", ""},
	} {
		if written, class := ratio(c.v, c.base, c.b); written != c.written || class != c.class {
			t.Errorf("%g to %g: %q, %q, want %q, %q", c.v, c.base, written, class, c.written, c.class)
		}
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

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{measured(0), "0"}, {measured(12345.6), "12,300"}, {measured(999.6), "1,000"}, {measured(99.96), "100"}, {measured(9.996), "10.0"},
		{measured(0.01234), "0.0123"}, {measured(-5), "−5.00"}, {measured(math.NaN()), none}, {measured(math.Inf(1)), none}, {measured(1e300), "1.00e+300"},
		{count(1234567), "1,234,567"}, {count(-1234), "−1,234"}, {count(math.MinInt64), "−9,223,372,036,854,775,808"}, {count(999), "999"},
		{micros(7).String(), "7\u00a0µs"}, {micros(312).String(), "312\u00a0µs"}, {micros(35.27).String(), "35.3\u00a0µs"}, {micros(999.7).String(), "1.00\u00a0ms"},
		{micros(1234).String(), "1.23\u00a0ms"}, {micros(999_600).String(), "1.00\u00a0s"}, {micros(12.34e6).String(), "12.3\u00a0s"}, {micros(math.NaN()).String(), none},
		{axisMicros(20), "20\u00a0µs"}, {axisMicros(5000), "5\u00a0ms"}, {axisMicros(1e6), "1\u00a0s"},
		{size(512), "512\u00a0B"}, {size(2048), "2.00\u00a0KiB"}, {size(23 << 20), "23.0\u00a0MiB"},
		{percent(1, 4), "25.0\u00a0%"}, {percent(0, 4), "0\u00a0%"}, {percent(1, 0), none}, {percent(99999, 100000), ">\u200a99.9\u00a0%"}, {percent(4, 4), "100\u00a0%"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestNines(t *testing.T) {
	for _, c := range [][2]float64{{0, 0}, {90, 1}, {99, 2}, {99.99, 4}} {
		if got := nines(c[0]); math.Abs(got-c[1]) > 1e-9 {
			t.Errorf("%g %%: %g, want %g", c[0], got, c[1])
		}
	}
	p := distributionPlan([]Run{{"", result(6000, 9000)}})
	s := p.series[0]
	if last := s.X[len(s.X)-1]; math.Abs(last-math.Log10(60000)) > 1e-9 {
		t.Errorf("the longest of 60,000 is at %g", last)
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

func TestOverTime(t *testing.T) {
	s := overTime("", []load.Point{{At: -1, Length: 1, Handshakes: 5}, {At: 0, Length: 2, Handshakes: 8}, {At: 3, Length: 1, Handshakes: 1}}, handshakeRate)
	if got, want := fmt.Sprint(s.X, s.Y), "[-1 0 2 3 4] [5 4 NaN 1 NaN]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRead(t *testing.T) {
	good, err := json.Marshal(failing())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := pageOf(t, Run{"x", r}), pageOf(t, Run{"x", failing()}); a != b {
		t.Error("what was read makes another page than what was written")
	}
	if _, err := Read(strings.NewReader(strings.Replace(string(good), "{", `{"of_a_later_version":1,`, 1))); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":       {" \n", "empty"},
		"text":          {"hello", "byte 1"},
		"cut off":       {string(good[:len(good)/2]), "unexpected end"},
		"two":           {string(good) + string(good), "after top-level value"},
		"a list":        {"[1]", "array"},
		"another":       {`{"handshakes": 1}`, `no "errors"`},
		"a key of null": {regexp.MustCompile(`"latency_us":\{[^}]*\}`).ReplaceAllString(string(good), `"latency_us":null`), `no "latency_us"`},
		"a wrong value": {strings.Replace(string(good), `"errors":2310`, `"errors":"many"`, 1), `"errors" is a JSON string`},
		"too long":      {strings.Repeat(" ", maxInput+1), "longer than"},
	} {
		if _, err := Read(strings.NewReader(c.text)); !errors.Is(err, ErrNoResult) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
}
