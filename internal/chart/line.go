package chart

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// In this file: what gonum draws between the axes of a line chart.

// linePart is a part of a series that has no gaps.
type linePart struct {
	points plotter.XYs
	style  draw.LineStyle
	glyph  *draw.GlyphStyle
	step   plotter.StepKind
}

// split cuts a series at its gaps.
func split(s Series, index int, style draw.LineStyle, logX, logY bool) []linePart {
	part := linePart{style: style, glyph: glyph(index, s.Points)}
	if s.Steps {
		part.step = plotter.PostStep
	}
	var parts []linePart
	var points plotter.XYs
	end := func() {
		if len(points) > 0 {
			part.points = points
			parts = append(parts, part)
		}
		points = nil
	}
	for i := range s.X {
		if !usable(s.X[i], logX) || !usable(s.Y[i], logY) {
			if s.Steps && len(points) > 0 && usable(s.X[i], logX) { // the last value is valid up to here
				points = append(points, plotter.XY{X: s.X[i], Y: points[len(points)-1].Y})
			}
			end()
			continue
		}
		points = append(points, plotter.XY{X: s.X[i], Y: s.Y[i]})
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
