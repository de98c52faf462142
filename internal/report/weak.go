package report

import (
	"github.com/jobloop/jobloop/internal/load"
)

// This file says how percentiles are shown, and which of them say little.

// enough is how many handshakes must be slower than a percentile. If there are fewer, the
// percentile is weak: the next run may give a very different one. That is a p50 of fewer
// than 20 handshakes, a p99 of fewer than 1000, and so on.
const enough = 10

// weak reports whether a percentile of n handshakes says little. The maximum, which is the
// 100th, is no estimate: it is what happened.
func weak(n int64, percentile float64) bool {
	const slack = 1e-6 // for rounding errors
	return percentile < 100 && float64(n)*(100-percentile)/100 < enough-slack
}

// weakNote explains the mark. A page has it once.
const weakNote = "~ and thin lines mark a percentile that fewer than ten handshakes exceeded: a p50 of fewer than 20 handshakes, a p90 of fewer than 100, a p99 of fewer than 1,000, a p99.9 of fewer than 10,000. The next run may give a very different value."

// weakMark is before a weak percentile.
const weakMark = "~"

// classWeak is the class of a weak percentile.
const classWeak = "few"

// latency formats a latency. If nothing was counted, there is none.
func latency(p load.Percentiles, us int64) quantity {
	if p.Count == 0 {
		return quantity{none, ""}
	}
	return micros(float64(us))
}

// percentileOf formats a percentile, and marks it if it is weak.
func percentileOf(p load.Percentiles, percentile float64, us int64) (q quantity, class string) {
	q = latency(p, us)
	if p.Count > 0 && weak(p.Count, percentile) {
		q.Number, class = weakMark+q.Number, classWeak
	}
	return q, class
}

// percentileCell returns a cell with a percentile.
func percentileCell(p load.Percentiles, percentile float64, us int64) cell {
	q, class := percentileOf(p, percentile, us)
	return cell{Text: q.String(), Class: class, Num: true}
}
