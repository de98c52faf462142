package chart

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// In this file: the range of an axis, its ticks and their labels.

// axisRange is the range of an axis.
type axisRange struct {
	min, max float64
	log      bool
}

func newRange(log bool) axisRange {
	return axisRange{min: math.Inf(1), max: math.Inf(-1), log: log}
}

func (r *axisRange) add(v float64) {
	if usable(v, r.log) {
		r.min, r.max = min(r.min, v), max(r.max, v)
	}
}

// tiny is a range too small to be divided into steps. Values up to it count as 0.
const tiny = 1e-290

// widen makes room around a single value.
func (r *axisRange) widen() {
	switch {
	case r.log && r.max > r.min*(1+1e-12), r.max-r.min > max(tiny, 1e-12*math.Abs(r.min), 1e-12*math.Abs(r.max)):
	case r.log:
		r.min, r.max = r.min/2, r.max*2
	case math.Abs(r.min) <= tiny:
		r.min, r.max = 0, 1
	default:
		d := math.Abs(r.max)
		r.min, r.max = r.min-d/2, r.max+d/2
	}
}

// ticks returns about n ticks with labels, and on a logarithmic axis also small
// ticks between them. If grow is set, the range is extended so that the axis begins
// and ends at a tick.
func (r *axisRange) ticks(n int, grow bool, format func(float64) string) plot.ConstantTicks {
	r.widen()
	if r.log {
		return r.logTicks(n, grow, format)
	}
	step := niceStep((r.max - r.min) / float64(max(n, 1)))
	first, last := math.Ceil(r.min/step-1e-9), math.Floor(r.max/step+1e-9)
	if grow {
		first, last = math.Floor(r.min/step+1e-9), math.Ceil(r.max/step-1e-9)
		r.min, r.max = first*step, last*step
	}
	if format == nil {
		format = plain
	}
	var ticks plot.ConstantTicks
	for i := range int(last-first) + 1 {
		v := (first+float64(i))*step + 0 // no -0
		ticks = append(ticks, plot.Tick{Value: v, Label: format(v)})
	}
	return ticks
}

// niceStep returns the smallest number that is not less than v and is 1, 2 or 5
// times a power of ten.
func niceStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p*(1+1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// logTicks returns ticks with labels at the powers of ten. If there are few, 2 and 5
// times these have labels too. If there are many, only some powers have labels.
func (r *axisRange) logTicks(n int, grow bool, format func(float64) string) plot.ConstantTicks {
	if format == nil {
		format = plain
	}
	if grow {
		r.min, r.max = oneTwoFive(r.min, false), oneTwoFive(r.max, true)
	}
	first, last := int(math.Floor(math.Log10(r.min)+1e-9)), int(math.Ceil(math.Log10(r.max)-1e-9))
	decades := last - first
	every := max(1, (decades+n-1)/max(n, 1))
	few := 3*math.Log10(r.max/r.min) <= float64(n+2)
	var ticks plot.ConstantTicks
	for e := first; e <= last; e++ {
		p := math.Pow10(e)
		for m := 1; m < 10; m++ {
			v := p * float64(m)
			if v < r.min*(1-1e-9) || v > r.max*(1+1e-9) {
				continue
			}
			labelled := m == 1 && (e-first)%every == 0 || (m == 2 || m == 5) && few
			switch {
			case labelled:
				ticks = append(ticks, plot.Tick{Value: v, Label: format(v)})
			case every == 1 || m == 1:
				ticks = append(ticks, plot.Tick{Value: v})
			}
		}
	}
	return ticks
}

// oneTwoFive returns the nearest number to v that is 1, 2 or 5 times a power of ten:
// one that is not less than v if up is set, otherwise one that is not more.
func oneTwoFive(v float64, up bool) float64 {
	p := math.Pow10(int(math.Floor(math.Log10(v) + 1e-9)))
	steps := []float64{1, 2, 5, 10}
	if up {
		for _, m := range steps {
			if m*p >= v*(1-1e-9) {
				return m * p
			}
		}
	}
	low := p
	for _, m := range steps {
		if m*p <= v*(1+1e-9) {
			low = m * p
		}
	}
	return low
}

// plain formats a number with commas for thousands, rounded so that the noise of
// binary fractions does not show.
func plain(v float64) string {
	s := strconv.FormatFloat(v+0, 'g', 10, 64) // no -0
	if strings.Contains(s, "e") {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "−", s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}
