package chart

import (
	"fmt"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// In this file: bar charts.

// maxCategories is the most categories of a bar chart.
const maxCategories = 64

// BarSeries has a bar in each category.
type BarSeries struct {
	Name string // in the legend; a series without a name is not in it
	// Values has a value for each category. NaN and infinite values have no bar, nor
	// do values on a logarithmic axis that are not positive.
	Values []float64
	// Low and High are the spread of each value, drawn as a whisker. Both may be nil.
	// A pair that is not finite is not drawn.
	Low, High []float64
}

// Bars draws a chart of vertical bars, grouped by category. The value of each bar
// is written above it with YFormat. Bars does not use LogX, XTicks, XInclude,
// XFormat, Spans and Marks of Config. It returns an error if a series does not have a value for
// each category, if a size is out of bounds, or if there is too much to draw
// (ErrTooMuch).
func Bars(c Config, categories []string, series ...BarSeries) ([]byte, error) {
	if err := c.check(len(series)); err != nil {
		return nil, err
	}
	if len(categories) > maxCategories {
		return nil, fmt.Errorf("chart %q: %w: %d categories, at most %d", c.Title, ErrTooMuch, len(categories), maxCategories)
	}
	if c.YFormat == nil {
		c.YFormat = plain
	}
	var names []string
	var legend []entry
	y := newRange(c.LogY)
	for i, s := range series {
		if err := s.check(len(categories)); err != nil {
			return nil, fmt.Errorf("chart %q: series %d (%q): %w", c.Title, i+1, s.Name, err)
		}
		for k, v := range s.Values {
			if usable(v, c.LogY) {
				y.add(v)
				low, high := s.spread(k, c.LogY)
				y.add(low)
				y.add(high)
			}
		}
		if s.Name != "" {
			names = append(names, s.Name)
			legend = append(legend, entry{name: clean(s.Name), bar: styleOfBar(i)})
		}
	}
	f := frame{config: c, legend: legend, summary: summary(c, names)}
	if y.min > y.max {
		return f.empty()
	}
	if c.LogY {
		y.min /= 2 // otherwise the smallest value would have no bar
	} else {
		y.add(0)
	}
	return f.bars(y, categories, series)
}

// check checks the lengths of the slices.
func (s *BarSeries) check(categories int) error {
	if len(s.Values) != categories {
		return fmt.Errorf("%d values for %d categories", len(s.Values), categories)
	}
	for _, spread := range [][]float64{s.Low, s.High} {
		if (s.Low != nil || s.High != nil) && len(spread) != categories {
			return fmt.Errorf("a spread of %d low and %d high values for %d categories", len(s.Low), len(s.High), categories)
		}
	}
	return nil
}

// spread returns the ends of the value's whisker. Without a whisker, both are the
// value itself.
func (s *BarSeries) spread(k int, log bool) (low, high float64) {
	if s.Low == nil || !usable(s.Low[k], log) || !usable(s.High[k], log) {
		return s.Values[k], s.Values[k]
	}
	return s.Low[k], s.High[k]
}

// bars draws a bar chart.
func (f *frame) bars(y axisRange, categories []string, series []BarSeries) ([]byte, error) {
	c := f.config
	p := f.plot()
	p.Y.Tick.Marker = y.ticks(int(c.Height/50), true, c.YFormat)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -0.5, float64(len(categories))-0.5, y.min, y.max
	if c.LogY {
		p.Y.Scale = plot.LogScale{}
	}
	ticks := make(plot.ConstantTicks, len(categories))
	room := vg.Length(c.Width)*0.85/vg.Length(len(categories)) - 6
	lines := 1
	for i, name := range categories {
		wrapped := wrap(p.X.Tick.Label, clean(name), room, 3)
		lines = max(lines, len(wrapped))
		ticks[i] = plot.Tick{Value: float64(i), Label: strings.Join(wrapped, "\n")}
	}
	for i := range ticks { // fill shorter labels up with lines, so that all begin at the axis
		ticks[i].Label += strings.Repeat("\n ", lines-1-strings.Count(ticks[i].Label, "\n"))
	}
	p.X.Tick.Marker = ticks
	p.Add(grid(false), bars{series: series, format: c.YFormat, log: c.LogY})
	return f.draw(p)
}

// bars draws the bars, their whiskers and their values.
type bars struct {
	series []BarSeries
	format func(float64) string
	log    bool
}

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	group := (trX(1) - trX(0)) * 0.8
	width := group / vg.Length(len(b.series))
	base := trY(max(p.Y.Min, min(0, p.Y.Max)))
	label := textStyle(tickSize, inkText, draw.XCenter, draw.YBottom)
	for i, s := range b.series {
		st := styleOfBar(i)
		for k, v := range s.Values {
			if !usable(v, b.log) {
				continue
			}
			x := trX(float64(k)) - group/2 + width*vg.Length(i)
			top := trY(v)
			st.rectangle(c, x+width*0.06, x+width*0.94, base, top)
			low, high := s.spread(k, b.log)
			if low != high {
				whisker(c, x+width/2, trY(low), trY(high), min(width/4, 5))
			}
			b.value(c, label, x+width/2, width, max(top, trY(high)), b.format(v))
		}
	}
}

// value writes a bar's value above it, in smaller type if necessary. It writes
// nothing if the value does not fit.
func (b bars) value(c draw.Canvas, s text.Style, x, width, y vg.Length, txt string) {
	for _, size := range []vg.Length{tickSize, tickSize - 1.5, tickSize - 3} {
		s.Font.Size = size
		if s.Width(txt) <= width {
			c.FillText(s, vg.Point{X: x, Y: y + 3}, txt)
			return
		}
	}
}

// whisker draws the spread of a value.
func whisker(c draw.Canvas, x, low, high, arm vg.Length) {
	st := draw.LineStyle{Color: inkText, Width: 1}
	c.StrokeLines(st,
		[]vg.Point{{X: x, Y: low}, {X: x, Y: high}},
		[]vg.Point{{X: x - arm, Y: low}, {X: x + arm, Y: low}},
		[]vg.Point{{X: x - arm, Y: high}, {X: x + arm, Y: high}})
}

// barStyle is the look of a series' bars. Every second series is hatched, so that
// neighbours differ even without colour.
type barStyle struct {
	color   ink
	hatched bool
}

func styleOfBar(i int) *barStyle { return &barStyle{seriesInk(i), i%2 == 1} }

// rectangle draws a bar between two heights.
func (b *barStyle) rectangle(c draw.Canvas, x0, x1, y0, y1 vg.Length) {
	if y1 < y0 {
		y0, y1 = y1, y0
	}
	corners := []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}}
	if !b.hatched {
		c.FillPolygon(b.color, corners)
		return
	}
	st := draw.LineStyle{Color: b.color, Width: 1.5}
	// The outline is drawn inside, so that the bar is as large as a filled one.
	in := st.Width / 2
	x0, x1, y0, y1 = x0+in, x1-in, min(y0+in, y1), max(y0, y1-in)
	c.StrokeLines(st, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}, {X: x0, Y: y0}})
	// The hatching: strokes that rise to the right, clipped to the bar.
	const apart = 5
	hatch := draw.LineStyle{Color: b.color, Width: 1}
	for d := apart - (y1 - y0); d < x1-x0; d += apart {
		a, e := max(d, 0), min(d+(y1-y0), x1-x0)
		if a < e {
			c.StrokeLine2(hatch, x0+a, y0+a-d, x0+e, y0+e-d)
		}
	}
}
