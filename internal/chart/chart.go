// Package chart draws line and bar charts as SVG, for pages and README files. gonum
// does the drawing, and this package adds what such charts need. A chart is dark if
// the reader prefers dark. Its series differ even without colour. Screen readers
// can describe it. It says "no data" if there is none. It refers to nothing
// outside, and the same input gives the same bytes.
//
// [Lines] and [Bars] return a complete document. [Inline] turns it into a part of an
// HTML page, whose style sheet must contain [CSS].
//
// In this file: what a chart consists of, and line charts.
package chart

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// The default sizes in points, and the limits for sizes in Config.
const (
	DefaultWidth  = 640
	DefaultHeight = 360

	minSize = 120
	maxSize = 4000
)

// A chart with more than this could not be read, and drawing it could take very
// long.
const (
	maxSeries = 32
	maxPoints = 100_000 // of all series together
)

// ErrTooMuch is wrapped by the error for a chart with too many series, points or
// categories.
var ErrTooMuch = errors.New("too much for a chart")

// Config is what the series of a chart have in common. The zero value works.
type Config struct {
	// Title is drawn above the chart, and read out by screen readers.
	Title string
	// HideTitle leaves the title out of the drawing, for a page that has a heading
	// for it.
	HideTitle bool

	XLabel, YLabel string

	// LogX and LogY make an axis logarithmic. Values that are not positive are gaps
	// there. A linear y axis includes 0.
	LogX, LogY bool

	// Width and Height are in points (pixels at the natural size). 0 means the
	// default. Further rows of the legend are added to the height.
	Width, Height float64

	// XTicks are the ticks of the x axis. If it is nil, they are chosen
	// automatically. The axis includes all of them.
	XTicks []Tick

	// XInclude are values that the x axis includes, so that several charts of the same
	// thing have the same axis.
	XInclude []float64

	// XFormat and YFormat format the numbers at the axes. nil means plain numbers
	// with commas for thousands.
	XFormat, YFormat func(float64) string

	// Spans and Marks point out parts of the x axis. They do not extend it.
	Spans []Span
	Marks []Mark
}

// Tick is a tick of an axis. Without a label it is small.
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

// Series is one line. Its colour and dashes depend only on its place among the
// series, so a series without data does not change the look of the others.
type Series struct {
	Name string // in the legend; a series without a name is not in it
	// X and Y must have the same length. NaN and infinite values are gaps.
	X, Y []float64
	// Dashed makes the line a reference with which others are compared: thin, dashed,
	// in the colour of the text at the axes.
	Dashed bool
	// Steps draws each value as a horizontal line up to the next point.
	Steps bool
	// Points marks each point.
	Points bool
	// Weak says which values are uncertain. The line is thin there, and marked points
	// are small. It has the length of X and Y, or is nil.
	Weak []bool
}

// weak reports whether value i is uncertain.
func (s *Series) weak(i int) bool { return s.Weak != nil && s.Weak[i] }

// Lines draws a line chart. It returns an error if X, Y and Weak of a series differ in
// length, if a size is out of bounds, or if there is too much to draw (ErrTooMuch).
//
// If the x axis is linear, the svg element says where the data is: data-plot has the
// left, right, top and bottom edges in the units of the viewBox, and the values at the
// left and right edges.
func Lines(c Config, series ...Series) ([]byte, error) {
	if err := c.check(len(series)); err != nil {
		return nil, err
	}
	total := 0
	for i, s := range series {
		if len(s.X) != len(s.Y) {
			return nil, fmt.Errorf("chart %q: series %d (%q) has %d values of x and %d of y", c.Title, i+1, s.Name, len(s.X), len(s.Y))
		}
		if s.Weak != nil && len(s.Weak) != len(s.X) {
			return nil, fmt.Errorf("chart %q: series %d (%q) has %d values and says of %d whether they are weak", c.Title, i+1, s.Name, len(s.X), len(s.Weak))
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
		ps := split(s, i, lineStyle(i, s.Dashed), c.LogX, c.LogY)
		for _, p := range ps {
			for _, at := range p.points {
				x.add(at.X)
				y.add(at.Y)
			}
		}
		parts = append(parts, ps...)
		if s.Name != "" && len(ps) > 0 {
			names = append(names, s.Name)
			legend = append(legend, legendEntry(s.Name, ps))
		}
	}
	f := frame{config: c, legend: legend, summary: summary(c, names)}
	if len(parts) == 0 {
		return f.empty()
	}
	for _, t := range c.XTicks {
		x.add(t.Value)
	}
	for _, v := range c.XInclude {
		x.add(v)
	}
	if !c.LogY {
		y.add(0)
	}
	return f.lines(x, y, parts)
}

// check sets default sizes, and returns an error if the chart cannot be drawn.
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
		if !(*size.value >= minSize && *size.value <= maxSize) { // also refuses NaN
			return fmt.Errorf("chart %q: its %s of %g points is not from %d to %d", c.Title, size.name, *size.value, minSize, maxSize)
		}
	}
	return nil
}

// summary describes the chart for screen readers.
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

// usable reports whether a value can be drawn. The largest numbers cannot, because
// the difference of two of them may be infinite.
func usable(v float64, log bool) bool {
	if log {
		return v > 1e-300 && v < 1e300
	}
	return math.Abs(v) < 1e300
}
