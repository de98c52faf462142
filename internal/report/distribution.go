package report

import (
	"math"
	"strconv"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the chart of the latency distribution.

// distributionPlan draws latency over percentiles, as HdrHistogram's plots do. The
// distances from 90 % to 99 %, from 99 % to 99.9 % and so on are equal. ids are those of
// the runs on the page.
func distributionPlan(runs []Run, ids []string) plan {
	p := plan{config: chart.Config{
		Title: "Latency distribution", XLabel: "share that took at most this long", YLabel: "logarithmic",
		LogY: true, YFormat: axisMicros, XTicks: []chart.Tick{{Value: 0, Label: "0"}, {Value: nines(50), Label: "50\u00a0%"}},
	}}
	most := 1.0
	for i, run := range runs {
		s := chart.Series{Name: run.Name}
		for _, q := range run.Result.Distribution {
			x := place(run.Result, q)
			s.X, s.Y = append(s.X, x), append(s.Y, float64(q.Latency))
			s.Weak = append(s.Weak, weak(run.Result.Latency.Count, q.Percentile))
			most = max(most, x)
		}
		p.add(s, source{Name: run.Name, Table: ids[i] + idDistribution, Column: 1})
	}
	for n := 1; n <= int(most+1e-9); n++ {
		decimals := max(0, n-2)
		p.config.XTicks = append(p.config.XTicks, chart.Tick{Value: float64(n), Label: strconv.FormatFloat(100-math.Pow10(2-n), 'f', decimals, 64) + "\u00a0%"})
	}
	return p
}

// nines returns how many nines a percentile has: 1 for 90 %, 2 for 99 %, 0.3 for 50 %,
// and infinity for 100 %.
func nines(percentile float64) float64 { return max(0, -math.Log10(1-percentile/100)) }

// place returns where a percentile is drawn. The longest of n latencies is drawn at
// 1-1/n. Its real place, 100 %, is infinitely far to the right.
func place(r *load.Result, q load.Quantile) float64 {
	return min(nines(q.Percentile), math.Log10(float64(max(r.Latency.Count, 10))))
}
