package chart

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// In this file: what gonum draws between the axes of a line chart.

// linePart is a part of a series that has no gaps, and is weak as a whole or not at
// all.
type linePart struct {
	points plotter.XYs
	style  draw.LineStyle
	glyph  *draw.GlyphStyle
	step   plotter.StepKind
	weak   bool
}

// weaken makes a part thin.
func (l *linePart) weaken() {
	l.weak = true
	l.style.Width /= 1.8
	if l.glyph != nil {
		small := *l.glyph
		small.Radius /= 1.8
		l.glyph = &small
	}
}

// legendEntry returns the entry of a series in the legend. It is thin if all of the
// series is.
func legendEntry(name string, parts []linePart) entry {
	look := parts[0]
	for _, p := range parts {
		if !p.weak {
			look = p
		}
	}
	return entry{name: clean(name), line: &look.style, glyph: look.glyph}
}

// split cuts a series at its gaps, and where it becomes weak or is weak no more. A line
// between two points is weak if one of them is; a step is weak if its value is.
func split(s Series, index int, style draw.LineStyle, logX, logY bool) []linePart {
	var parts []linePart
	var points plotter.XYs
	weak, last := false, 0 // of points, and the index of its last one
	end := func() {
		if len(points) > 0 {
			part := linePart{points: points, style: style, glyph: glyph(index, s.Points)}
			if s.Steps {
				part.step = plotter.PostStep
			}
			if weak {
				part.weaken()
			}
			parts = append(parts, part)
		}
		points = nil
	}
	// add adds a point. If the line to it looks different, a new part begins.
	add := func(at plotter.XY, lineIsWeak bool) {
		if n := len(points); n > 1 && lineIsWeak != weak {
			from := points[n-1]
			end()
			points = append(points, from)
		}
		points, weak = append(points, at), lineIsWeak
	}
	for i := range s.X {
		if !usable(s.X[i], logX) || !usable(s.Y[i], logY) {
			if s.Steps && len(points) > 0 && usable(s.X[i], logX) { // the last value is valid up to here
				add(plotter.XY{X: s.X[i], Y: points[len(points)-1].Y}, s.weak(last))
			}
			end()
			continue
		}
		lineIsWeak := s.weak(i)
		if len(points) > 0 {
			lineIsWeak = s.weak(last) || !s.Steps && s.weak(i)
		}
		add(plotter.XY{X: s.X[i], Y: s.Y[i]}, lineIsWeak)
		last = i
	}
	end()
	return parts
}

// Plot implements plot.Plotter.
func (l linePart) Plot(c draw.Canvas, p *plot.Plot) {
	line := plotter.Line{XYs: l.points, LineStyle: l.style, StepStyle: l.step}
	line.Plot(c, p)
	mark := l.glyph
	if mark == nil && len(l.points) == 1 { // a single point makes no line
		mark = &draw.GlyphStyle{Color: l.style.Color, Radius: 2, Shape: draw.CircleGlyph{}}
	}
	if mark != nil {
		scatter := plotter.Scatter{XYs: l.points, GlyphStyle: *mark}
		scatter.Plot(c, p)
	}
}

// grid returns horizontal grid lines, and with vertical also vertical ones, which
// are for ticks that the caller has chosen.
func grid(vertical bool) plot.Plotter {
	style := draw.LineStyle{Color: inkGrid, Width: 0.8}
	g := &plotter.Grid{Horizontal: style}
	if vertical {
		g.Vertical = style
	}
	return g
}

// spans draws the shaded parts.
type spans struct {
	spans []Span
	x     axisRange
}

// Plot implements plot.Plotter.
func (s spans) Plot(c draw.Canvas, p *plot.Plot) {
	trX, _ := p.Transforms(&c)
	style := textStyle(tickSize, inkMuted, draw.XLeft, draw.YTop)
	for _, sp := range s.spans {
		from, to := max(sp.From, s.x.min), min(sp.To, s.x.max)
		if !(from < to) { // empty, or NaN
			continue
		}
		x0, x1 := trX(from), trX(to)
		c.FillPolygon(inkSpan, []vg.Point{{X: x0, Y: c.Min.Y}, {X: x1, Y: c.Min.Y}, {X: x1, Y: c.Max.Y}, {X: x0, Y: c.Max.Y}})
		if label := clean(sp.Label); style.Width(label) <= x1-x0-6 {
			c.FillText(style, vg.Point{X: x0 + 3, Y: c.Max.Y - 3}, label)
		}
	}
}

// marks draws the vertical lines.
type marks struct {
	marks []Mark
	x     axisRange
}

// Plot implements plot.Plotter.
func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	trX, _ := p.Transforms(&c)
	for _, mark := range m.marks {
		if !(mark.X >= m.x.min && mark.X <= m.x.max) { // outside, or NaN
			continue
		}
		x := trX(mark.X)
		c.StrokeLine2(draw.LineStyle{Color: inkText, Width: 1, Dashes: []vg.Length{2, 2}}, x, c.Min.Y, x, c.Max.Y)
		style := textStyle(tickSize, inkText, draw.XLeft, draw.YTop)
		at, room := x+4, c.Max.X-x-4
		if left := x - c.Min.X - 4; left > room {
			style.XAlign, at, room = draw.XRight, x-4, left
		}
		c.FillText(style, vg.Point{X: at, Y: c.Max.Y - 3}, fit(style, clean(mark.Label), room))
	}
}
