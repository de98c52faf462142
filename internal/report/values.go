package report

import (
	"math"
	"strconv"

	"github.com/jobloop/jobloop/internal/load"
)

// This file makes the tables of the values that the charts draw. They are for readers
// who want the numbers, and for the page's script, which shows them at the pointer.

// The ids of tables end in these, after the id of their run.
const (
	idTime         = "-time"
	idDistribution = "-distribution"
	idSweep        = "-sweep"
)

// The columns of the table of values over time, and the column of p99 in that of a
// sweep's steps.
const (
	columnRate = iota + 1
	columnFailed
	columnP50
	columnP99
	columnMax
	columnInFlight

	columnSweepP99 = 4
)

// maxValueRows is the maximum number of rows of a table of values. Real results have 300
// intervals.
const maxValueRows = 1000

// timeValues returns the values of each interval of a run.
func timeValues(id string, r *load.Result) table {
	t := table{ID: id + idTime, Title: "Over time", Head: heads("Time", ">succeeded", ">failed", ">p50", ">p99", ">max", ">connections")}
	points, _ := timeline(r)
	for _, p := range points[:min(len(points), maxValueRows)] {
		l := load.Percentiles{Count: p.Handshakes}
		t.addAt(p.At, text(seconds(p.At)+"\u00a0s"), num(perSecond(handshakeRate(p))), num(perSecond(errorRate(p))),
			percentileCell(l, 50, p.P50), percentileCell(l, 99, p.P99), num(latency(l, p.Max).String()), counted(int64(p.InFlight)))
	}
	return t
}

// distributionValues returns the points of the latency distribution.
func distributionValues(id string, r *load.Result) table {
	t := table{ID: id + idDistribution, Title: "Latency distribution", Head: heads("Share", ">took at most")}
	for _, q := range r.Distribution[:min(len(r.Distribution), maxValueRows)] {
		t.addAt(place(r, q), text(strconv.FormatFloat(q.Percentile, 'g', 9, 64)+"\u00a0%"), percentileCell(r.Latency, q.Percentile, q.Latency))
	}
	return t
}

// seconds formats a time with up to two decimals. The shortest intervals have 0.1 s.
func seconds(v float64) string {
	s := trimZeros(strconv.FormatFloat(math.Abs(v), 'f', 2, 64))
	if v < 0 && s != "0" {
		return "−" + s
	}
	return s
}
