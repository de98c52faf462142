package load

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file writes the distribution of latency for other programs.

// distributionTicks is how many points there are for each halving of what is left to
// 100 %.
const distributionTicks = 5

// WriteHGRM writes the distribution of latency in HdrHistogram's text format, in
// milliseconds, as wrk2 does. Its plotter and others read that.
func (r *Result) WriteHGRM(w io.Writer) error {
	h, err := r.Histograms.Latency.Decode(Digits)
	if err != nil {
		return err
	}
	_, err = h.PercentilesPrint(w, distributionTicks, 1000)
	return err
}

// WriteCSV writes the distribution of latency as comma-separated values (RFC 4180). The
// columns are the percentile, the latency in microseconds, and how many handshakes took
// at most that.
func (r *Result) WriteCSV(w io.Writer) error {
	h, err := r.Histograms.Latency.Decode(Digits)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	out.Write([]string{"percentile", "latency_us", "handshakes"})
	for _, b := range distribution(h) {
		out.Write([]string{strconv.FormatFloat(b.Quantile, 'g', -1, 64), strconv.FormatInt(b.ValueAt, 10), strconv.FormatInt(b.Count, 10)})
	}
	out.Flush()
	return out.Error()
}

// distribution returns the points of a distribution; none if the histogram is empty.
func distribution(h *hdrhistogram.Histogram) []hdrhistogram.Bracket {
	if h.TotalCount() == 0 {
		return nil
	}
	return h.CumulativeDistributionWithTicks(distributionTicks)
}
