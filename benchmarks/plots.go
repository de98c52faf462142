//go:build linux

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/internal/bench"
	"github.com/jobloop/jobloop/internal/chart"
)

// This file has the pictures of the parts. A figure that was not measured is
// missing in them.

// bar is a bar's values, a round each.
type bar struct {
	series string
	values [][]float64 // of each category
}

// addBars adds a chart of the medians, with the least and the greatest values as
// whiskers.
func (r *report) addBars(name, title, unit string, categories []string, logarithmic bool, bars ...bar) {
	r.addPlot(name, title, func() ([]byte, error) {
		series := make([]chart.BarSeries, len(bars))
		for i, b := range bars {
			s := &series[i]
			s.Name = b.series
			for _, v := range b.values {
				s.Values = append(s.Values, bench.Median(v))
				low, high := bench.Median(v), bench.Median(v)
				if len(v) > 0 {
					low, high = slices.Min(v), slices.Max(v)
				}
				s.Low, s.High = append(s.Low, low), append(s.High, high)
			}
		}
		c := chart.Config{Title: title, YLabel: unit, LogY: logarithmic, YFormat: shortFigure}
		c.Width = max(chart.DefaultWidth, perCategory*float64(len(categories))) // or names are cut
		return chart.Bars(c, categories, series...)
	})
}

// perCategory is the width of a server's name.
const perCategory = 120

// shortFigure is figure without zeros at its end, for axes.
func shortFigure(v float64) string {
	s := bench.Figure(v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// serverBars adds a chart with one bar for each server.
func serverBars[R any](r *report, name, title, unit string, names []string, results map[string][]R, f func(R) float64) {
	r.addBars(name, title, unit, names, false, serverBar("", names, results, f))
}

func serverBar[R any](series string, names []string, results map[string][]R, f func(R) float64) bar {
	b := bar{series: series}
	for _, name := range names {
		b.values = append(b.values, ofRounds(results[name], f))
	}
	return b
}

func plotSwitches(r *report, res *switchResult) {
	for i, op := range res.operations() {
		var names []string
		var b bar
		for _, w := range res.Ways {
			if w.Operation == op {
				names = append(names, w.With)
				b.values = append(b.values, w.NS)
			}
		}
		r.addBars(fmt.Sprintf("jobswitch-%d", i+1), op, "ns", names, false, b)
	}
}

// plotSignatures has batches of one and of eight only: those between are like
// the next greater of one, four and eight.
func plotSignatures(r *report, kinds, ways []string, results map[string]map[string][]*signed) {
	var bars []bar
	for _, way := range ways {
		if way == goWayName(2) || way == goWayName(3) {
			continue
		}
		b := bar{series: way}
		for _, kind := range kinds {
			b.values = append(b.values, ofRounds(results[kind][way], (*signed).perSignature))
		}
		bars = append(bars, b)
	}
	r.addBars("signatures", "CPU time of an RSA signature", "µs", kinds, true, bars...)
}

// plotHandshakes has the CPU time of all kinds of handshakes with a key, and the
// latency of the first of these, if it was measured.
func plotHandshakes(r *report, all []*handshakeResults) {
	var keys []string
	byKey := make(map[string][]*handshakeResults)
	for _, res := range all {
		if byKey[res.What.Key] == nil {
			keys = append(keys, res.What.Key)
		}
		byKey[res.What.Key] = append(byKey[res.What.Key], res)
	}
	for _, key := range keys {
		var bars []bar
		for _, res := range byKey[key] {
			saturation := make(map[string][]*loadRound)
			for name, rounds := range res.Rounds {
				saturation[name] = saturations(rounds)
			}
			bars = append(bars, serverBar("TLS "+res.What.TLS+", "+res.What.Resume, res.Servers, saturation, (*loadRound).cpu))
		}
		first := byKey[key][0]
		r.addBars("handshakes-cpu-"+key, "Server CPU of a handshake, "+key, "µs", first.Servers, false, bars...)
		plotLatency(r, first)
	}
}

// plotLatency has the latencies of clients that come on schedule.
func plotLatency(r *report, res *handshakeResults) {
	var bars []bar
	var parts []string
	for _, load := range []struct {
		name string
		of   func(*handshakeRound) *openRound
	}{
		{"half", func(r *handshakeRound) *openRound { return r.Half }},
		{"twice", func(r *handshakeRound) *openRound { return r.Twice }},
	} {
		open := make(map[string][]*openRound)
		for name, rounds := range res.Rounds {
			for _, round := range rounds {
				if o := load.of(round); o != nil {
					open[name] = append(open[name], o)
				}
			}
		}
		if len(open) > 0 {
			parts = append(parts, load.name)
			bars = append(bars,
				serverBar(load.name+", p50", res.Servers, open, func(r *openRound) float64 { return r.p50() }),
				serverBar(load.name+", p99", res.Servers, open, func(r *openRound) float64 { return r.p99() }))
		}
	}
	if len(bars) > 0 {
		r.addBars("handshakes-latency-"+res.What.Key, "Latency at "+strings.Join(parts, " and ")+" the rate at saturation, "+res.What.String(), "ms", res.Servers, true, bars...)
	}
}

func plotIdle(r *report, names []string, connections []int, results map[int]map[string][]*idleResult) {
	var bars []bar
	for _, n := range connections {
		bars = append(bars, serverBar(strconv.Itoa(n)+" connections", names, results[n], (*idleResult).perConnection))
	}
	r.addBars("idle", "Memory of an idle TLS connection", "KB", names, false, bars...)
}

func plotStorm(r *report, names []string, clients int, results map[string][]*stormResult) {
	serverBars(r, "storm-memory", fmt.Sprintf("Peak memory when %d clients come at once", clients), "MB", names, results, (*stormResult).peak)
	serverBars(r, "storm-time", fmt.Sprintf("Time until the last of %d clients was served", clients), "s", names, results, (*stormResult).last)
}

func plotRequests(r *report, names []string, results map[string][]*requestResult) {
	serverBars(r, "requests", "Keep-alive requests over TLS on one core", "requests/s", names, results, (*requestResult).rate)
}

func plotScaling(r *report, kind string, names []string, byConnections, byThreads []*scalingPoint) {
	title := "Server CPU of a handshake by connections at a time, " + kind
	r.addPlot("scaling-connections-"+kind, title, func() ([]byte, error) {
		var series []chart.Series
		for _, name := range names {
			s := chart.Series{Name: name, Points: true}
			for _, p := range byConnections {
				s.X = append(s.X, float64(p.Connections))
				s.Y = append(s.Y, bench.Median(ofRounds(p.Results[name], (*scalingResult).cpu)))
			}
			series = append(series, s)
		}
		return chart.Lines(chart.Config{Title: title, XLabel: "connections at a time", YLabel: "µs", LogX: true}, series...)
	})
	if len(byThreads) == 0 {
		return
	}
	var bars []bar
	for _, p := range byThreads {
		label := "1 thread"
		if p.Threads > 1 {
			label = strconv.Itoa(p.Threads) + " threads"
		}
		// The rate says little where the threads share their cores with the client.
		bars = append(bars, serverBar(label, names, p.Results, (*scalingResult).cpu))
	}
	r.addBars("scaling-threads-"+kind, "Server CPU of a handshake by threads of the server, "+kind, "µs", names, false, bars...)
}
