package report

import (
	"math"
	"strconv"
)

// This file formats numbers. Measured values have three significant digits, counts have
// all their digits.

// none stands for a missing value.
const none = "–"

// count formats a count.
func count(n int64) string {
	if n < 0 {
		return "−" + commas(strconv.FormatUint(uint64(-(n+1))+1, 10))
	}
	return commas(strconv.FormatInt(n, 10))
}

// commas puts commas between groups of three digits.
func commas(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// measured formats a measured value, with three significant digits.
func measured(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return none
	case v < 0:
		return "−" + measured(a)
	case a == 0:
		return "0"
	case a >= 1e15 || a < 1e-4:
		return strconv.FormatFloat(v, 'e', 2, 64)
	case a >= 99.95:
		unit := math.Pow10(int(math.Floor(math.Log10(a))) - 2)
		return commas(strconv.FormatFloat(math.Round(a/unit)*unit, 'f', 0, 64))
	default:
		decimals := 2 - int(math.Floor(math.Log10(a)))
		// 9.996 rounds to 10.0: one decimal less.
		if math.Round(a*math.Pow10(decimals)) >= 1000 {
			decimals--
		}
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
}

// quantity is a number and its unit. In large type, the unit is smaller.
type quantity struct{ Number, Unit string }

func (q quantity) String() string {
	if q.Unit == "" {
		return q.Number
	}
	return q.Number + "\u00a0" + q.Unit
}

// micros formats a time in microseconds.
func micros(us float64) quantity {
	switch a := math.Abs(us); {
	case math.IsNaN(us) || math.IsInf(us, 0):
		return quantity{none, ""}
	case a < 1000 && us == math.Trunc(us): // a measured value: show all digits
		return quantity{trim(us), "µs"}
	case a < 999.5:
		return quantity{measured(us), "µs"}
	case a < 999.5e3:
		return quantity{measured(us / 1e3), "ms"}
	default:
		return quantity{measured(us / 1e6), "s"}
	}
}

// axisMicros formats a time in microseconds for an axis, where values are round.
func axisMicros(us float64) string {
	q := quantity{trim(us), "µs"}
	if us >= 1e6 {
		q = quantity{trim(us / 1e6), "s"}
	} else if us >= 1e3 {
		q = quantity{trim(us / 1e3), "ms"}
	}
	return q.String()
}

func trim(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// size formats a number of bytes.
func size(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; n >= 999.5 && i < len(units)-1; i++ {
		n /= 1000
	}
	if i == 0 {
		return strconv.FormatFloat(math.Round(n), 'f', 0, 64) + "\u00a0B"
	}
	return measured(n) + "\u00a0" + units[i]
}

// percent formats a part as a percentage of a whole. If the whole is 0, there is none.
func percent(part, whole float64) string {
	if !(whole > 0) {
		return none
	}
	switch p := 100 * part / whole; {
	case part != whole && p > 99.95: // not quite all
		return ">\u200a99.9\u00a0%"
	default:
		return measured(p) + "\u00a0%"
	}
}
