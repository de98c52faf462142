package load

import (
	"fmt"
	"iter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file has the histograms of a run and of its parts.

// Histograms are the whole histograms behind a result's percentiles.
type Histograms struct {
	Latency    Histogram `json:"latency,omitempty"`
	Connect    Histogram `json:"connect,omitempty"`
	TLS        Histogram `json:"tls,omitempty"`
	FirstByte  Histogram `json:"first_byte,omitempty"`
	StartDelay Histogram `json:"start_delay,omitempty"`
	GaveUp     Histogram `json:"gave_up_after,omitempty"`
	HeldEnded  Histogram `json:"held_ended_after,omitempty"`
}

// latencies are the histograms of a part of a run.
type latencies struct {
	latency, connect, tls, firstByte, delay, gaveUp, heldEnded *hdrhistogram.Histogram
}

func newLatencies() latencies {
	return latencies{
		latency: newHistogram(Digits), connect: newHistogram(Digits), tls: newHistogram(Digits),
		firstByte: newHistogram(Digits), delay: newHistogram(Digits), gaveUp: newHistogram(Digits), heldEnded: newHistogram(Digits),
	}
}

func (l *latencies) merge(o *latencies) {
	l.latency.Merge(o.latency)
	l.connect.Merge(o.connect)
	l.tls.Merge(o.tls)
	l.firstByte.Merge(o.firstByte)
	l.delay.Merge(o.delay)
	l.gaveUp.Merge(o.gaveUp)
	l.heldEnded.Merge(o.heldEnded)
}

// latencies returns the histograms of a result.
func (r *Result) latencies() (latencies, error) {
	var l latencies
	var err error
	for _, f := range []struct {
		to   **hdrhistogram.Histogram
		from Histogram
	}{
		{&l.latency, r.Histograms.Latency}, {&l.connect, r.Histograms.Connect}, {&l.tls, r.Histograms.TLS},
		{&l.firstByte, r.Histograms.FirstByte}, {&l.delay, r.Histograms.StartDelay}, {&l.gaveUp, r.Histograms.GaveUp}, {&l.heldEnded, r.Histograms.HeldEnded},
	} {
		if *f.to, err = f.from.Decode(Digits); err != nil {
			return latencies{}, err
		}
	}
	return l, nil
}

// describe puts the histograms and what follows from them into a result. Only an open
// loop has a start delay.
func (l *latencies) describe(res *Result, open bool) {
	res.Latency, res.Histograms.Latency = percentiles(l.latency), encode(l.latency)
	res.Phases.Connect, res.Histograms.Connect = percentiles(l.connect), encode(l.connect)
	res.Phases.TLS, res.Histograms.TLS = percentiles(l.tls), encode(l.tls)
	if l.firstByte.TotalCount() > 0 {
		first := percentiles(l.firstByte)
		res.Phases.FirstByte, res.Histograms.FirstByte = &first, encode(l.firstByte)
	}
	if open {
		delay := percentiles(l.delay)
		res.StartDelay, res.Histograms.StartDelay = &delay, encode(l.delay)
	}
	if l.gaveUp.TotalCount() > 0 {
		after := percentiles(l.gaveUp)
		res.GaveUpAfter, res.Histograms.GaveUp = &after, encode(l.gaveUp)
	}
	if l.heldEnded.TotalCount() > 0 {
		after := percentiles(l.heldEnded)
		res.HeldEndedByServer, res.HeldEndedAfter, res.Histograms.HeldEnded = after.Count, &after, encode(l.heldEnded)
	}
	res.Distribution = []Quantile{}
	for _, b := range distribution(l.latency) {
		res.Distribution = append(res.Distribution, Quantile{Percentile: b.Quantile, Latency: b.ValueAt})
	}
}

// stored is a histogram of a result.
type stored struct {
	key string // where it is
	Histogram
	digits int
	count  int64 // how many samples it must have
}

// check decodes the histogram and compares its number of samples.
func (s *stored) check() error {
	h, err := s.Decode(s.digits)
	if err == nil && h.TotalCount() != s.count {
		err = fmt.Errorf("it has %d samples, %d are counted", h.TotalCount(), s.count)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.key, err)
	}
	return nil
}

// stored returns all histograms that a result has or should have.
func (r *Result) stored() iter.Seq[stored] {
	count := func(p *Percentiles) int64 {
		if p == nil {
			return 0
		}
		return p.Count
	}
	return func(yield func(stored) bool) {
		for _, s := range []stored{
			{"histograms.latency", r.Histograms.Latency, Digits, r.Latency.Count},
			{"histograms.connect", r.Histograms.Connect, Digits, r.Phases.Connect.Count},
			{"histograms.tls", r.Histograms.TLS, Digits, r.Phases.TLS.Count},
			{"histograms.first_byte", r.Histograms.FirstByte, Digits, count(r.Phases.FirstByte)},
			{"histograms.start_delay", r.Histograms.StartDelay, Digits, count(r.StartDelay)},
			{"histograms.gave_up_after", r.Histograms.GaveUp, Digits, count(r.GaveUpAfter)},
			{"histograms.held_ended_after", r.Histograms.HeldEnded, Digits, count(r.HeldEndedAfter)},
		} {
			if !yield(s) {
				return
			}
		}
		for i, p := range r.Series {
			if !yield(stored{fmt.Sprintf("series[%d].histogram", i), p.Histogram, SeriesDigits, p.Handshakes}) {
				return
			}
		}
		for i, t := range r.Targets {
			if !yield(stored{fmt.Sprintf("targets[%d].histogram", i), t.Histogram, Digits, t.Handshakes}) {
				return
			}
		}
		if r.Sweep == nil {
			return
		}
		for i, s := range r.Sweep.Steps {
			if !yield(stored{fmt.Sprintf("sweep.steps[%d].histogram", i), s.Histogram, Digits, s.Latency.Count}) {
				return
			}
		}
	}
}
