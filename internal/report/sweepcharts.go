package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/jobloop/jobloop/internal/chart"
	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the charts of sweeps.

// byRate returns a sweep's steps in order of their rates. They were run in another
// order.
func byRate(s *load.Sweep) []load.Step {
	return slices.SortedStableFunc(slices.Values(s.Steps), func(a, b load.Step) int { return cmp.Compare(a.Rate, b.Rate) })
}

// sweepRates draws the rate achieved over the rate asked for.
func sweepRates(id string, s *load.Sweep) plan {
	p := sweepPlan("Rate achieved", "handshakes per second", s)
	achieved, asked := chart.Series{Name: "achieved", Points: true}, chart.Series{Name: "asked for", Dashed: true}
	for _, st := range byRate(s) {
		achieved.X, achieved.Y = append(achieved.X, st.Rate), append(achieved.Y, st.HandshakesPer)
		asked.X, asked.Y = append(asked.X, st.Rate), append(asked.Y, st.Rate)
	}
	p.add(achieved, source{Name: "achieved", Table: id + idSweep, Column: 1})
	p.add(asked, source{Name: "asked for", Table: id + idSweep})
	return p
}

// sweepLatencies returns a chart for p99 over the rate asked for.
func sweepLatencies(s *load.Sweep) plan {
	p := sweepPlan("Latency p99", "logarithmic", s)
	p.config.LogY, p.config.YFormat = true, axisMicros
	return p
}

// sweepP99 returns a sweep's p99 over the rate. A run that was no sweep has none.
func sweepP99(name string, sweep *load.Sweep) chart.Series {
	s := chart.Series{Name: name, Points: true}
	if sweep == nil {
		return s
	}
	for _, st := range byRate(sweep) {
		s.X, s.Y = append(s.X, st.Rate), append(s.Y, float64(st.Latency.P99))
		s.Weak = append(s.Weak, weak(st.Latency.Count, 99))
	}
	return s
}

// sweepPlan returns a chart over the rate asked for. It marks the knee of the sweep, if
// there is one.
func sweepPlan(title, yLabel string, s *load.Sweep) plan {
	p := plan{config: chart.Config{Title: title, XLabel: "rate asked for, handshakes per second", YLabel: yLabel}}
	if s != nil && s.Knee > 0 {
		p.config.Marks = []chart.Mark{{X: s.Knee, Label: fmt.Sprintf("knee, %s\u00a0/s", measured(s.Knee))}}
	}
	return p
}
