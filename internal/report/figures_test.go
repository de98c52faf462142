package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/jobloop/jobloop/internal/load"
)

func TestNines(t *testing.T) {
	for _, c := range [][2]float64{{0, 0}, {90, 1}, {99, 2}, {99.99, 4}} {
		if got := nines(c[0]); math.Abs(got-c[1]) > 1e-9 {
			t.Errorf("%g %%: %g, want %g", c[0], got, c[1])
		}
	}
	p := distributionPlan([]Run{{"", result(6000, 9000)}}, []string{""})
	s := p.series[0]
	if last := s.X[len(s.X)-1]; math.Abs(last-math.Log10(60000)) > 1e-9 {
		t.Errorf("the longest of 60,000 is at %g", last)
	}
}

// TestUnmeasured checks which parts of a run are shaded.
func TestUnmeasured(t *testing.T) {
	point := func(at, length float64) load.Point { return load.Point{At: at, Length: length} }
	ramped := func(r *load.Result) *load.Result { r.Settings.Flags["ramp"] = "1s"; return r }
	for name, c := range map[string]struct {
		r    *load.Result
		want string
	}{
		"warm-up":      {result(400, 3000), "[{-1 0 warm-up}]"},
		"ramp":         {ramped(result(400, 3000)), "[{-1 0 ramp, warm-up}]"},
		"ending":       {ending(), "[{-1 0 warm-up} {10 12 ending}]"},
		"sweep":        {swept(), "[{-25 0 other steps} {10 20 other steps}]"},
		"on the edges": {&load.Result{Duration: .25, Series: []load.Point{point(-.05, .1), point(.05, .1), point(.15, .2)}}, "[]"},
		"over them":    {&load.Result{Duration: .25, Series: []load.Point{point(-.15, .1), point(-.05, .1), point(.15, .2), point(.35, .2)}}, "[{-0.15 0 warm-up} {0.25 0.55 ending}]"},
		"nothing":      {new(load.Result), "[]"},
	} {
		got := unmeasured(c.r)
		for i := range got {
			got[i].To = math.Round(got[i].To*1e6) / 1e6
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		r     *load.Result
		spans int // shaded parts, in three charts of two sizes
		says  []string
	}{
		"warm-up": {result(400, 3000), 6, []string{"The shaded part (warm-up) counts only in the totals.</small>"}},
		"ending":  {ending(), 12, []string{"only in the totals. In the shaded part at the end, open connections finish. It does not count in the rate.", `<dd class="sub">4,000, due in 10.0`}},
		"sweep":   {swept(), 12, []string{"The unshaded part is the best step.", ">other steps</text>"}},
	} {
		page := pageOf(t, Run{name, c.r})
		if n := strings.Count(page, `class="chart-span"`); n != c.spans {
			t.Errorf("%s: %d shaded parts, want %d", name, n, c.spans)
		}
		for _, s := range c.says {
			if !strings.Contains(page, s) {
				t.Errorf("%s: no %q", name, s)
			}
		}
	}
}

// A comparison draws only points of the measured parts.
func TestComparisonIsOfMeasuredParts(t *testing.T) {
	for _, p := range overlays([]Run{{"a", swept()}, {"b", ending()}})[:2] {
		for _, s := range p.series {
			if len(s.X) != 101 || s.X[0] != 0 || math.Abs(s.X[100]-10) > 1e-9 {
				t.Errorf("%s: %s has %d points from %g to %g, want 100 from 0 to 10 and an end", p.config.Title, s.Name, len(s.X), s.X[0], s.X[len(s.X)-1])
			}
		}
		if p.config.Spans != nil {
			t.Errorf("%s: something is shaded", p.config.Title)
		}
	}
	// A measured part that is shorter than an interval is shown too.
	short := &load.Result{Duration: .05, Series: []load.Point{{At: -.15, Length: .1}, {At: -.05, Length: .1}, {At: .05, Length: .1}}}
	if got := measuredPoints(short); len(got) != 1 || got[0].At != -.05 {
		t.Errorf("of a short run: %v", got)
	}
}

// TestPageOfTheMost makes pages with the maximum number of points.
func TestPageOfTheMost(t *testing.T) {
	r := swept()
	h := hdrhistogram.New(1, 3_600_000_000, 3)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2_000_000 {
		if err := h.RecordValue(1 + int64(2000*random.ExpFloat64())); err != nil {
			t.Fatal(err)
		}
	}
	r.Distribution, r.Latency.Count = nil, h.TotalCount()
	for _, b := range h.CumulativeDistributionWithTicks(5) {
		r.Distribution = append(r.Distribution, load.Quantile{Percentile: b.Quantile, Latency: b.ValueAt})
	}
	s := distributionPlan([]Run{{"", r}}, []string{""}).series[0]
	if !slices.IsSorted(s.X) || !slices.IsSorted(s.Y) || s.X[len(s.X)-1] != math.Log10(2e6) {
		t.Errorf("the distribution is not in order, or does not end at the longest: %v", s.X)
	}
	r.Series = nil
	for i := range 300 {
		r.Series = append(r.Series, load.Point{At: float64(i)/2 - 50, Length: .5, Handshakes: int64(random.IntN(2000)), Errors: 1, P50: int64(1000 + random.IntN(1000)), P99: int64(3000 + random.IntN(9000)), Max: int64(20_000 + random.IntN(90_000)), InFlight: random.IntN(64)})
	}
	for len(r.Sweep.Steps) < 60 {
		r.Sweep.Steps = append(r.Sweep.Steps, r.Sweep.Steps[0])
	}
	one := len(pageOf(t, Run{"the most", r}))
	runs := make([]Run, MaxRuns)
	for i := range runs {
		runs[i].Result = r
	}
	all := len(pageOf(t, runs...))
	t.Logf("%d points of the distribution; a page of one run has %d bytes, of %d runs %d", len(r.Distribution), one, MaxRuns, all)
	if one > 350_000 || all > 4_500_000 {
		t.Errorf("a page of one run has %d bytes, of %d runs %d", one, MaxRuns, all)
	}
}

// A sweep's time begins with the sweep. Other runs' time counts from their measured part.
func TestTimeOfSweepBeginsAtZero(t *testing.T) {
	for name, c := range map[string]struct {
		r     *load.Result
		first float64
		spans string
	}{
		"sweep":  {swept(), 0, "[{0 25 other steps} {35 45 other steps}]"},
		"closed": {result(400, 3000), -1, "[{-1 0 warm-up}]"},
	} {
		for _, p := range timePlans("run-1", c.r) {
			if got := p.series[0].X[0]; got != c.first {
				t.Errorf("%s: %s begins at %g, want %g", name, p.config.Title, got, c.first)
			}
			for i := range p.config.Spans {
				p.config.Spans[i].To = math.Round(p.config.Spans[i].To*1e6) / 1e6
			}
			if got := fmt.Sprint(p.config.Spans); got != c.spans {
				t.Errorf("%s: %s has shaded parts %s, want %s", name, p.config.Title, got, c.spans)
			}
		}
		if got := timeValues("run-1", c.r).X[0]; got != fmt.Sprint(c.first) {
			t.Errorf("%s: the table of values begins at %s", name, got)
		}
	}
	if got := timePlans("", swept())[0].config.XLabel; got != "seconds since the sweep began" {
		t.Errorf("the axis says %q", got)
	}
}

// The charts over time have the same axis, even if no handshake succeeded at first.
func TestChartsOverTimeShareTheirAxis(t *testing.T) {
	r := result(400, 3000)
	for i := range r.Series[:50] {
		r.Series[i] = load.Point{At: r.Series[i].At, Length: .1, Errors: 3}
	}
	axis := regexp.MustCompile(`data-plot="\S+ \S+ \S+ \S+ (\S+ \S+)"`)
	figures, err := drawAll(slices.Concat(timePlans("", r), overlays([]Run{{"a", r}, {"b", r}})))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range figures {
		want := "-1 10"
		if i >= 3 { // of the measured part only
			want = "0 10"
		}
		if m := axis.FindStringSubmatch(string(f.Wide)); f.Title != "Latency distribution" && (m == nil || m[1] != want) {
			t.Errorf("chart %d, %s: from and to %q, want %s", i, f.Title, m, want)
		}
	}
}

func TestOverTime(t *testing.T) {
	s := overTime("", []load.Point{{At: -1, Length: 1, Handshakes: 5}, {At: 0, Length: 2, Handshakes: 8}, {At: 3, Length: 1, Handshakes: 1}}, handshakeRate, 0)
	if got, want := fmt.Sprint(s.X, s.Y), "[-1 0 2 3 4] [5 4 NaN 1 NaN]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
