// Package chart draws line and bar charts as SVG, for pages and for README
// files. The drawing is gonum's; this package adds what such a chart needs
// there: it is dark where the reader prefers dark, tells its series apart
// without colour too, reads aloud, and says "no data" where there is none. A
// chart needs nothing from outside, and the same input gives the same bytes.
//
// [Lines] and [Bars] return a document of its own. [Inline] makes of it a part
// of an HTML page, which has [CSS] in its style sheet.
//
// In this file: what a chart is made of, and line charts.
package chart

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Sizes in points where Config has none, and the least and the greatest it may
// ask for.
const (
	DefaultWidth  = 640
	DefaultHeight = 360

	minSize = 120
	maxSize = 4000
)

// Charts of more than this could not be read, nor would they be drawn in a
// bounded time.
const (
	maxSeries = 32
	maxPoints = 100_000 // of all series
)

// ErrTooMuch is wrapped by the error for more series or points than a chart
// holds.
var ErrTooMuch = errors.New("too much for a chart")

// Config is what the series of a chart have in common. The zero value works.
type Config struct {
	// Title is drawn above the chart, and read to those who do not see it.
	Title string
	// HideTitle draws none, for a page that has a heading for it.
	HideTitle bool

	XLabel, YLabel string

	// LogX and LogY make an axis logarithmic. Values that are not positive are
	// gaps there. A linear axis of y begins at 0 unless a value is less.
	LogX, LogY bool

	// Width and Height are in points (pixels, at the natural size); 0 means the
	// default. A legend of more than one row is added to the height.
	Width, Height float64

	// XTicks are the marks of the x axis; nil chooses some. The axis reaches
	// at least from the first to the last.
	XTicks []Tick

	// XFormat and YFormat write the numbers at the axes; nil writes them plain,
	// with commas for thousands.
	XFormat, YFormat func(float64) string

	// Spans and Marks point out parts of the x axis. They do not extend it.
	Spans []Span
	Marks []Mark
}

// Tick is a mark at an axis. Without a label it is a small one.
type Tick struct {
	Value float64
	Label string
}

// Span shades a part of a line chart's x axis.
type Span struct {
	From, To float64
	Label    string
}

// Mark is a vertical line in a line chart.
type Mark struct {
	X     float64
	Label string
}

// Series is one line. Its place among the series gives it its colour and
// dashes, so one without data keeps those of the others as they are.
type Series struct {
	Name string // in the legend; without a name it has no place there
	// X and Y are as long as each other. NaN and infinite values are gaps.
	X, Y []float64
	// Dashed makes it a reference to compare others with: thin, dashed, in the
	// colour of text.
	Dashed bool
	// Steps holds each value until the next point.
	Steps bool
	// Points marks each point.
	Points bool
}

// Lines draws a line chart. It returns an error for series whose X and Y differ
// in length, a size out of bounds, or too much (ErrTooMuch).
func Lines(c Config, series ...Series) ([]byte, error) {
	if err := c.check(len(series)); err != nil {
		return nil, err
	}
	total := 0
	for i, s := range series {
		if len(s.X) != len(s.Y) {
			return nil, fmt.Errorf("chart %q: series %d (%q) has %d values of x and %d of y", c.Title, i+1, s.Name, len(s.X), len(s.Y))
		}
		if total += len(s.X); total > maxPoints {
			return nil, fmt.Errorf("chart %q: %w: more than %d points", c.Title, ErrTooMuch, maxPoints)
		}
	}
	var names []string
	var legend []entry
	var parts []linePart
	x, y := newRange(c.LogX), newRange(c.LogY)
	for i, s := range series {
		st := lineStyle(i, s.Dashed)
		ps := split(s, i, st, c.LogX, c.LogY)
		for _, p := range ps {
			for _, at := range p.points {
				x.add(at.X)
				y.add(at.Y)
			}
		}
		parts = append(parts, ps...)
		if s.Name != "" && len(ps) > 0 {
			names = append(names, s.Name)
			legend = append(legend, entry{name: clean(s.Name), line: &st, glyph: glyph(i, s.Points)})
		}
	}
	f := frame{config: c, legend: legend, summary: summary(c, names)}
	if len(parts) == 0 {
		return f.empty()
	}
	for _, t := range c.XTicks {
		x.add(t.Value)
	}
	if !c.LogY {
		y.add(0)
	}
	return f.lines(x, y, parts)
}

// check refuses what cannot be drawn.
func (c *Config) check(series int) error {
	if series > maxSeries {
		return fmt.Errorf("chart %q: %w: %d series, at most %d", c.Title, ErrTooMuch, series, maxSeries)
	}
	for _, size := range []struct {
		name  string
		value *float64
		def   float64
	}{{"width", &c.Width, DefaultWidth}, {"height", &c.Height, DefaultHeight}} {
		if *size.value == 0 {
			*size.value = size.def
		}
		if !(*size.value >= minSize && *size.value <= maxSize) { // nor NaN
			return fmt.Errorf("chart %q: its %s of %g points is not from %d to %d", c.Title, size.name, *size.value, minSize, maxSize)
		}
	}
	return nil
}

// summary says what is in the chart, to those who do not see it.
func summary(c Config, names []string) string {
	var b strings.Builder
	b.WriteString(c.Title)
	if c.YLabel != "" || c.XLabel != "" {
		fmt.Fprintf(&b, ". Chart of %s by %s", orWord(c.YLabel, "values"), orWord(c.XLabel, "category"))
	}
	if len(names) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(names, ", "))
	}
	return clean(strings.TrimPrefix(b.String(), ". "))
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

// usable reports whether a value can be drawn. The greatest numbers cannot:
// the distance of two of them may be infinite.
func usable(v float64, log bool) bool {
	if log {
		return v > 1e-300 && v < 1e300
	}
	return math.Abs(v) < 1e300
}
