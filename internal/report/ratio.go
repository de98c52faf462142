package report

import (
	"math"
	"strconv"
	"strings"
)

// This file words how two values compare.

// alike is the relative difference up to which two values are called neither better nor
// worse. It is far more than the resolution of the histograms, which is three digits.
const alike = 0.05

// compare adds to a cell how its value compares with the first run's.
func (m *metric) compare(c *cell, v, base reading) {
	q := v.value / base.value
	words := ratioWords(q)
	if words == "" {
		return
	}
	c.Sub = words
	switch difference := math.Abs(v.value - base.value); {
	case m.better == neither || v.plain || base.plain:
	case difference <= max(m.step, alike*base.value)*(1+1e-9):
	case (q > 1) == (m.better == more):
		c.Sub, c.Class = c.Sub+", better", "better"
	default:
		c.Sub, c.Class = c.Sub+", worse", "worse"
	}
}

// ratioWords says how a value compares with another, q times as large: "4.8 % higher",
// "279 times lower". Ratios near 1 are in percent. A ratio that is none gives "".
func ratioWords(q float64) string {
	const far = 1.995 // 100 % when rounded
	difference := 100 * math.Abs(q-1)
	switch {
	case !(q > 0) || math.IsInf(q, 0) || math.IsInf(1/q, 0):
		return ""
	case q >= far:
		return trimZeros(measured(q)) + " times higher"
	case q <= 1/far:
		return trimZeros(measured(1/q)) + " times lower"
	case difference < 0.05:
		return "the same"
	case q > 1:
		return roughly(difference) + "\u00a0% higher"
	}
	return roughly(difference) + "\u00a0% lower"
}

// roughly formats a number up to 100, with one decimal if it is less than ten.
func roughly(v float64) string {
	decimals := 1
	if v >= 9.95 {
		decimals = 0
	}
	return trimZeros(strconv.FormatFloat(v, 'f', decimals, 64))
}

// trimZeros removes zeros at the end of a decimal fraction.
func trimZeros(s string) string {
	if strings.Contains(s, ".") && !strings.Contains(s, "e") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
