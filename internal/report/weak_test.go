package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

func TestWeak(t *testing.T) {
	for _, c := range []struct {
		n          int64
		percentile float64
		want       bool
	}{
		{19, 50, true}, {20, 50, false}, {99, 90, true}, {100, 90, false}, {999, 99, true}, {1000, 99, false},
		{9999, 99.9, true}, {10_000, 99.9, false}, {99_999, 99.99, true}, {100_000, 99.99, false}, {10, 0, false}, {9, 0, true}, {1, 100, false},
	} {
		if got := weak(c.n, c.percentile); got != c.want {
			t.Errorf("p%g of %d is weak: %v", c.percentile, c.n, got)
		}
	}
}

// point has n handshakes in an interval.
func pointOf(at float64, n int64) load.Point {
	return load.Point{At: at, Length: 1, Handshakes: n, P50: 1000, P99: 2000, Max: 3000}
}

// Charts draw weak percentiles thin: of intervals, of a sweep's steps, and at the end of
// the distribution.
func TestChartsDrawWeakPercentilesThin(t *testing.T) {
	r := &load.Result{Duration: 4, Latency: load.Percentiles{Count: 5000}}
	for i, n := range []int64{1000, 999, 19, 0} {
		r.Series = append(r.Series, pointOf(float64(i), n))
	}
	for _, percentile := range []float64{50, 99, 99.8, 99.9, 100} {
		r.Distribution = append(r.Distribution, load.Quantile{Percentile: percentile, Latency: 1000})
	}
	r.Sweep = &load.Sweep{Steps: []load.Step{{Rate: 1, Latency: load.Percentiles{Count: 1000, P99: 1}}, {Rate: 2, Latency: load.Percentiles{Count: 999, P99: 1}}}}
	got := make(map[string]string)
	for _, p := range plansOf("run-1", r) {
		for _, s := range p.series {
			if s.Weak != nil {
				got[p.config.Title+" "+s.Name] = fmt.Sprint(s.Weak)
			}
		}
	}
	for line, want := range map[string]string{
		"Latency p50":           "[false false true false false]", // and the end of the last interval
		"Latency p99":           "[false true true false false]",
		"Latency distribution ": "[false false false true false]",
		"Latency p99 p99":       "[false true]",
	} {
		if got[line] != want {
			t.Errorf("%s: weak are %s, want %s", line, got[line], want)
		}
	}
	if len(got) != 4 {
		t.Errorf("lines with weak values: %v", got)
	}
	overlaid := overlays([]Run{{"a", r}, {"b", r}})
	for _, title := range []string{"Latency p99", "Latency distribution", "Latency p99 of the sweeps' steps"} {
		i := slices.IndexFunc(overlaid, func(p plan) bool { return p.config.Title == title })
		if i < 0 || !overlaid[i].drawsWeak() {
			t.Errorf("the comparison's %s draws no weak value", title)
		}
	}
	page := pageOf(t, Run{"", r})
	if !strings.Contains(page, "<th>1\u00a0s</th><td>999\u00a0/s</td><td>0\u00a0/s</td><td>1.00\u00a0ms</td><td>~2.00\u00a0ms</td><td>3.00\u00a0ms</td>") {
		t.Error("the table of values does not mark a p99 of 999")
	}
}

// A line that is weak wherever it has a value has the mark in the legend.
func TestWeakLineIsMarkedInTheLegend(t *testing.T) {
	for _, c := range []struct {
		handshakes []int64
		want       string
	}{{[]int64{999, 0, 999}, "~p99"}, {[]int64{999, 1000}, "p99"}, {[]int64{1000}, "p99"}} {
		r := &load.Result{Duration: 4}
		for i, n := range c.handshakes {
			p := pointOf(float64(i), n)
			if n == 0 {
				p.P99 = 0
			}
			r.Series = append(r.Series, p)
		}
		if got := timePlans("", r)[1].series[1].Name; got != c.want {
			t.Errorf("%v: %q, want %q", c.handshakes, got, c.want)
		}
	}
}

func TestWeakIsExplainedOnce(t *testing.T) {
	strong := result(2_000_000, 3000) // its intervals have 200,000 handshakes
	strong.Distribution = strong.Distribution[:9]
	for name, c := range map[string]struct {
		page string
		want int
	}{
		"one":      {pageOf(t, Run{"", result(20, 3000)}), 1},
		"compared": {pageOf(t, Run{"", result(20, 3000)}, Run{"", result(400, 3000)}, Run{"", swept()}), 1},
		"strong":   {pageOf(t, Run{"", strong}), 0},
		"nothing":  {pageOf(t, Run{"", new(load.Result)}), 0},
	} {
		if n := strings.Count(c.page, weakNote); n != c.want {
			t.Errorf("%s: explained %d times, want %d", name, n, c.want)
		}
		if c.want == 0 && strings.Contains(c.page, ">"+weakMark) {
			t.Errorf("%s: something is marked", name)
		}
	}
}
