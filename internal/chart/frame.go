package chart

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// In this file: what surrounds the data (title, legend, axes), and the layout.

// frame is a chart without its data.
type frame struct {
	config  Config
	legend  []entry
	summary string
	area    *area // of a line chart's data; nil if it is not known
}

// area is where the data is, and the range of x there.
type area struct {
	min, max vg.Point // corners, from the bottom left of the drawing
	x        axisRange
}

// Plot implements plot.Plotter. It draws nothing.
func (a *area) Plot(c draw.Canvas, p *plot.Plot) {
	trX, _ := p.Transforms(&c)
	a.min, a.max = vg.Point{X: trX(p.X.Min), Y: c.Min.Y}, vg.Point{X: trX(p.X.Max), Y: c.Max.Y}
	a.x.min, a.x.max = p.X.Min, p.X.Max
}

// attribute returns the attribute that describes the area, for a drawing of that height.
func (a *area) attribute(height vg.Length) string {
	return fmt.Sprintf(` data-plot="%.1f %.1f %.1f %.1f %.8g %.8g"`, float64(a.min.X), float64(a.max.X),
		float64(height-a.max.Y), float64(height-a.min.Y), a.x.min, a.x.max)
}

// entry is an entry of the legend: a line or a bar, with a name.
type entry struct {
	name  string
	line  *draw.LineStyle
	glyph *draw.GlyphStyle
	bar   *barStyle
}

const (
	margin    = vg.Length(10)
	rowHeight = vg.Length(17)
)

// lines draws a line chart.
func (f *frame) lines(x, y axisRange, parts []linePart) ([]byte, error) {
	c := f.config
	p := f.plot()
	p.Y.Tick.Marker = y.ticks(int(c.Height/50), true, c.YFormat)
	if c.XTicks != nil {
		x.widen()
		ticks := make(plot.ConstantTicks, len(c.XTicks))
		for i, t := range c.XTicks {
			ticks[i] = plot.Tick{Value: t.Value, Label: clean(t.Label)}
		}
		thin(ticks, p.X.Tick.Label, x, vg.Length(c.Width)*0.85)
		p.X.Tick.Marker = ticks
	} else {
		p.X.Tick.Marker = x.ticks(int(c.Width/65), false, c.XFormat)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = x.min, x.max, y.min, y.max
	if c.LogX {
		p.X.Scale = plot.LogScale{}
	} else {
		f.area = new(area)
		p.Add(f.area)
	}
	if c.LogY {
		p.Y.Scale = plot.LogScale{}
	}
	p.Add(spans{c.Spans, x}, grid(c.XTicks != nil), marks{c.Marks, x})
	for _, part := range parts {
		p.Add(part)
	}
	return f.draw(p)
}

// thin removes labels that would touch the one before, on an axis of about that width.
func thin(ticks plot.ConstantTicks, s text.Style, x axisRange, width vg.Length) {
	if x.log {
		return
	}
	end := vg.Length(math.Inf(-1))
	for i := range ticks {
		if ticks[i].Label == "" {
			continue
		}
		at, half := width*vg.Length((ticks[i].Value-x.min)/(x.max-x.min)), s.Width(ticks[i].Label)/2
		if at-half < end+4 {
			ticks[i].Label = ""
			continue
		}
		end = at + half
	}
}

// empty draws a chart without data, which says so.
func (f *frame) empty() ([]byte, error) {
	f.summary += ". No data."
	f.config.YLabel = ""
	return f.document(func(canvas draw.Canvas) {
		style := textStyle(titleSize, inkMuted, draw.XCenter, draw.YCenter)
		canvas.FillText(style, canvas.Center(), "no data")
	})
}

// plot returns a plot with axes in this package's style.
func (f *frame) plot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // document has filled the background
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Padding = 0
		axis.LineStyle = draw.LineStyle{Color: inkMuted, Width: 0.8}
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Length = 4
	}
	p.X.Tick.Label = textStyle(tickSize, inkMuted, draw.XCenter, draw.YTop)
	p.Y.Tick.Label = textStyle(tickSize, inkMuted, draw.XRight, draw.YCenter)
	p.X.Label.Padding = 5
	p.X.Label.TextStyle = textStyle(tickSize, inkMuted, draw.XCenter, draw.YBottom)
	p.X.Label.Text = fit(p.X.Label.TextStyle, clean(f.config.XLabel), vg.Length(f.config.Width)*0.85)
	// The grid shows the values of y, so the axis needs no lines.
	p.Y.Padding = 4
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	return p
}

// draw returns the document of the plot.
func (f *frame) draw(p *plot.Plot) ([]byte, error) {
	return f.document(func(canvas draw.Canvas) { p.Draw(canvas) })
}

// document returns the document of a chart. body draws the inside.
func (f *frame) document(body func(draw.Canvas)) ([]byte, error) {
	width := vg.Length(f.config.Width)
	rows := f.rows(width - 2*margin)
	height := vg.Length(f.config.Height) + rowHeight*vg.Length(max(0, len(rows)-1))
	canvas := vgsvg.New(width, height)
	c := draw.New(canvas)
	c.FillPolygon(inkBackground, []vg.Point{{}, {X: width}, {X: width, Y: height}, {Y: height}})
	c = draw.Crop(c, margin, -margin, margin, -margin)
	if f.config.Title != "" && !f.config.HideTitle {
		style := textStyle(titleSize, inkText, draw.XLeft, draw.YTop)
		c.FillText(style, vg.Point{X: c.Min.X, Y: c.Max.Y}, fit(style, clean(f.config.Title), c.Max.X-c.Min.X))
		c.Max.Y -= titleSize + 9
	}
	for _, row := range rows {
		f.drawRow(c, row)
		c.Max.Y -= rowHeight
	}
	if f.config.YLabel != "" { // horizontal, which is easier to read
		c.Max.Y -= 2
		style := textStyle(tickSize, inkMuted, draw.XLeft, draw.YTop)
		c.FillText(style, vg.Point{X: c.Min.X, Y: c.Max.Y}, fit(style, clean(f.config.YLabel), c.Max.X-c.Min.X))
		c.Max.Y -= tickSize + 9
	}
	body(c)
	place := ""
	if f.area != nil {
		place = f.area.attribute(height)
	}
	return finish(canvas, f.config, f.summary, place)
}

// rows arranges the legend in rows.
func (f *frame) rows(width vg.Length) [][]entry {
	var rows [][]entry
	left := vg.Length(-1) // room left in the last row
	for _, e := range f.legend {
		e.name = fit(legendText, e.name, width-e.sample()-6)
		if w := e.width(); w > left {
			rows, left = append(rows, nil), width
		}
		left -= e.width()
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
	}
	return rows
}

var legendText = textStyle(textSize, inkText, draw.XLeft, draw.YCenter)

func (e *entry) width() vg.Length { return e.sample() + 6 + legendText.Width(e.name) + 18 }

// sample returns the width of the entry's line or bar in the legend.
func (e *entry) sample() vg.Length {
	if e.bar != nil {
		return 14
	}
	return 24
}

// drawRow draws a row of the legend at the top of the canvas.
func (f *frame) drawRow(c draw.Canvas, row []entry) {
	x, y := c.Min.X, c.Max.Y-rowHeight/2
	for _, e := range row {
		sample := e.sample()
		if e.bar != nil {
			e.bar.rectangle(c, x, x+sample, y-5, y+5)
		}
		if e.line != nil {
			c.StrokeLine2(*e.line, x, y, x+sample, y)
		}
		if e.glyph != nil {
			c.DrawGlyphNoClip(*e.glyph, vg.Point{X: x + sample/2, Y: y})
		}
		drawMiddle(c, legendText, x+sample+6, y, e.name)
		x += e.width()
	}
}

// drawMiddle draws text so that its small letters are centred at y. With gonum's own
// alignment, their feet would be at y.
func drawMiddle(c draw.Canvas, s text.Style, x, y vg.Length, txt string) {
	s.YAlign = draw.YBottom
	c.FillText(s, vg.Point{X: x, Y: y - s.Font.Size*0.35}, txt)
}
