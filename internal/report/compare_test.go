package report

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

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
		"Handshakes per second":    {"9,000\u00a0/s", "50\u00a0% higher, better", "better"},
		"Latency p50":              {"4.50\u00a0ms", "2 times lower, better", "better"},
		"Latency p99":              {"17.6\u00a0ms", "2 times lower, better", "better"},
		"Handshakes":               {"90,000", "", ""},
		"Client CPU per handshake": {"45.6\u00a0µs", "33\u00a0% lower", ""},
		"Latency max":              {"140\u00a0ms", "2 times lower", ""},
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

func TestBetterAndWorse(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		v, base, step  float64
		b              better
		plain          bool
		written, class string
	}{
		{2, 1, 0, more, false, "2 times higher, better", "better"},
		{2, 1, 0, less, false, "2 times higher, worse", "worse"},
		{1, 2, 0, more, false, "2 times lower, worse", "worse"},
		{1, 2, 0, less, false, "2 times lower, better", "better"},
		{105, 100, 0, more, false, "5\u00a0% higher", ""},
		{95, 100, 0, more, false, "5\u00a0% lower", ""},
		{105.2, 100, 0, more, false, "5.2\u00a0% higher, better", "better"},
		{94.8, 100, 0, less, false, "5.2\u00a0% lower, better", "better"},
		{8, 7, 1, less, false, "14\u00a0% higher", ""},
		{9, 7, 1, less, false, "29\u00a0% higher, worse", "worse"},
		{3, 1, 0, neither, false, "3 times higher", ""},
		{3, 1, 0, more, true, "3 times higher", ""},
		{1, 0, 0, more, false, "", ""},
		{0, 0, 0, less, false, "", ""},
		{nan, 1, 0, less, false, "", ""},
		{1, nan, 0, less, false, "", ""},
	} {
		m := metric{better: c.b, step: c.step}
		for _, plain := range [][2]bool{{c.plain, false}, {false, c.plain}} { // one of the two is plain
			var got cell
			m.compare(&got, reading{value: c.v, plain: plain[0]}, reading{value: c.base, plain: plain[1]})
			if got.Sub != c.written || got.Class != c.class {
				t.Errorf("%g to %g: %q, %q, want %q, %q", c.v, c.base, got.Sub, got.Class, c.written, c.class)
			}
		}
	}
}

// compared returns what the comparison of two runs says about the second, by metric.
func compared(t *testing.T, a, b *load.Result) (cells map[string]cell, note string) {
	t.Helper()
	v, err := compare([]Run{{"a", a}, {"b", b}})
	if err != nil {
		t.Fatal(err)
	}
	cells = make(map[string]cell)
	for _, row := range v.Figures.Rows {
		cells[row[0].Text] = row[2]
	}
	return cells, v.Figures.Note
}

func TestWhatIsNeitherBetterNorWorse(t *testing.T) {
	open := func(rate float64) *load.Result {
		r := result(rate, 3000)
		r.Settings.Flags["rate"] = fmt.Sprint(rate)
		return r
	}
	sweep := func(knee float64, limit string) *load.Result {
		r := swept()
		r.HandshakesPer, r.Latency.P50 = knee, r.Latency.P50*int64(knee)/4000
		r.Sweep.Knee, r.Sweep.Limit = knee, limit
		return r
	}
	const openNote, sweepNote = "The rate of an open loop", "A sweep is judged by its knee"
	for name, c := range map[string]struct {
		a, b                *load.Result
		rate, knee, latency string // how they compare
		note                string
	}{
		"closed loops":     {result(2000, 3000), result(4000, 6000), "2 times higher, better", "", "2 times higher, worse", ""},
		"open loops":       {open(2000), open(4000), "2 times higher", "", "the same", openNote},
		"closed and open":  {result(2000, 3000), open(4000), "2 times higher", "", "the same", openNote},
		"open and closed":  {open(4000), result(2000, 6000), "2 times lower", "", "2 times higher, worse", openNote},
		"sweeps":           {sweep(2000, "x"), sweep(4000, "x"), "2 times higher", "2 times higher, better", "2 times higher", sweepNote},
		"sweep, no end":    {sweep(2000, "x"), sweep(4000, ""), "2 times higher", "2 times higher", "2 times higher", sweepNote},
		"sweep and closed": {sweep(4000, "x"), result(2000, 4200), "2 times lower", "", "2 times higher", sweepNote},
	} {
		got, note := compared(t, c.a, c.b)
		if s := got["Handshakes per second"].Sub; s != c.rate {
			t.Errorf("%s: the rate is %q, want %q", name, s, c.rate)
		}
		if s := got["Knee of the sweep"].Sub; s != c.knee {
			t.Errorf("%s: the knee is %q, want %q", name, s, c.knee)
		}
		if s := got["Latency p50"].Sub; s != c.latency {
			t.Errorf("%s: the latency is %q, want %q", name, s, c.latency)
		}
		if (note == "") != (c.note == "") || !strings.HasPrefix(note, c.note) {
			t.Errorf("%s: the note is %q", name, note)
		}
	}
	got, _ := compared(t, sweep(2000, "x"), sweep(4000, ""))
	if got := tiles(sweep(4000, ""))[0]; got.String() != "4,000\u00a0/s" || got.Sub != "at least: no higher rate was tried" {
		t.Errorf("on a page of its own it is %v", got)
	}
	if s := got["Knee of the sweep"].Text; s != "≥\u00a04,000\u00a0/s" {
		t.Errorf("a knee that was not reached is %q", s)
	}
}

// Latencies are measured in whole microseconds, so a difference of one means nothing.
func TestMicrosecondApart(t *testing.T) {
	a, b := result(2000, 7), result(2000, 8)
	if got, _ := compared(t, a, b); got["Latency p50"].Sub != "14\u00a0% higher" {
		t.Errorf("8 µs to 7 µs: %q", got["Latency p50"].Sub)
	}
	b.Latency.P50 = 9
	if got, _ := compared(t, a, b); got["Latency p50"].Sub != "29\u00a0% higher, worse" {
		t.Errorf("9 µs to 7 µs: %q", got["Latency p50"].Sub)
	}
}

// 999 handshakes are too few for a p99, and 9,999 are too few for a p99.9.
func TestPercentilesOfFew(t *testing.T) {
	for _, c := range []struct {
		n         float64
		p99, p999 bool // few
	}{{999, true, true}, {1000, false, true}, {9999, false, true}, {10_000, false, false}} {
		r := result(c.n/10, 3000)
		other := result(6000, 9000)
		for name, tables := range map[string]struct{ a, b *load.Result }{"the second": {other, r}, "the first": {r, other}} {
			got, _ := compared(t, tables.a, tables.b)
			judged := func(metric string) bool { return regexp.MustCompile("better|worse").MatchString(got[metric].Sub) }
			if judged("Latency p99") == c.p99 || judged("Latency p99.9") == c.p999 || !judged("Latency p50") {
				t.Errorf("%s has %g handshakes: %v", name, c.n, got)
			}
			if got["Latency p99"].Sub == "" {
				t.Errorf("%s has %g handshakes: no comparison of p99", name, c.n)
			}
			if name == "the second" && ((got["Latency p99"].Class == classWeak) != c.p99 || strings.HasPrefix(got["Latency p99.9"].Text, "~") != c.p999) {
				t.Errorf("%g handshakes: %v is marked wrongly", c.n, got)
			}
		}
		page := pageOf(t, Run{"few", r})
		for text, want := range map[string]bool{
			`<div class="tile few"><dt>Latency p99</dt><dd class="value">~11.7<`: c.p99,
			`<dd class="sub">p99.9 ~36.0` + "\u00a0ms":                           c.p999,
			`<td class="few num">~11.7` + "\u00a0ms</td>":                        c.p99,
			`<td class="few num">~36.0` + "\u00a0ms</td>":                        c.p999,
		} {
			if strings.Contains(page, text) != want {
				t.Errorf("%g handshakes: %q in the page: %v", c.n, text, !want)
			}
		}
	}
	r := swept()
	r.Sweep.Steps[0].Latency.Count = 999
	page := pageOf(t, Run{"sweep", r})
	if strings.Count(page, `class="few num"`) != 1 {
		t.Error("a step of few handshakes is not marked")
	}
}
