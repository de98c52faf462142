package chart

import (
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// In this file: colours, dashes, marks and type.

// ink is a colour named by its role. It is drawn as a placeholder colour, which
// svg.go replaces by a class. The style sheet decides what it looks like.
type ink int

const (
	inkBackground ink = iota // behind everything
	inkText                  // titles and the legend
	inkMuted                 // numbers and words at the axes
	inkGrid                  // lines of the grid
	inkSpan                  // shaded parts
	inkSeries                // the first series; the others follow
)

// theme has the colours of an ink in light and dark.
type theme struct{ name, light, dark string }

// themes has the theme of each ink. The colours of series were chosen so that
// colour-blind readers can tell any two apart: they differ by at least 20 in CIE
// L*a*b* when seen with protanopia, deuteranopia or tritanopia (Machado's
// matrices). Each has a contrast of at least 3:1 against the background, shaded or
// not, as WCAG 1.4.11 requires.
var themes = []theme{
	inkBackground: {"bg", "#ffffff", "#14171c"},
	inkText:       {"fg", "#1c2128", "#e4e8ee"},
	inkMuted:      {"muted", "#5b6470", "#9aa4b2"},
	inkGrid:       {"grid", "#dfe3e8", "#2d333c"},
	inkSpan:       {"span", "#eff1f4", "#1f242c"},
	inkSeries:     {"1", "#116cd4", "#2b7cee"},
	inkSeries + 1: {"2", "#8a3c0f", "#d95b26"},
	inkSeries + 2: {"3", "#10604d", "#34cc8d"},
	inkSeries + 3: {"4", "#854086", "#eea0e6"},
	inkSeries + 4: {"5", "#af800c", "#f4e377"},
	inkSeries + 5: {"6", "#17191c", "#63717e"},
}

// Colors is how many series have a colour of their own. Further series use the same
// colours again, with other dashes.
const Colors = 6

// CSS returns the style sheet of the charts, for a page with inline charts. The page
// can set each colour by a variable: --chart-bg, --chart-fg, --chart-muted,
// --chart-grid, --chart-span, and --chart-1 to --chart-6 for the series. The classes
// chart-1 to chart-6 set the property color, and so can give other elements the
// colour of a series.
func CSS() string { return css }

var css = func() string {
	var b strings.Builder
	rules := func(indent string, of func(theme) string) {
		for _, t := range themes {
			// The colour is given twice, for viewers that do not know variables.
			fmt.Fprintf(&b, "%s.chart-%s{color:%s;color:var(--chart-%s,%s)}\n", indent, t.name, of(t), t.name, of(t))
		}
	}
	rules("", func(t theme) string { return t.light })
	b.WriteString("@media screen and (prefers-color-scheme:dark){\n") // only on a screen: paper is light
	rules("", func(t theme) string { return t.dark })
	b.WriteString("}\n")
	return b.String()
}()

// RGBA implements color.Color. It returns the ink's placeholder colour.
func (i ink) RGBA() (r, g, b, a uint32) {
	return color.RGBA{0xfe, 0xfe, byte(i) * 5, 0xff}.RGBA()
}

// placeholder returns the placeholder colour as gonum writes it.
func (i ink) placeholder() string { return fmt.Sprintf("#FEFE%02X", int(i)*5) }

// seriesInk returns the colour of series i.
func seriesInk(i int) ink { return inkSeries + ink(i%Colors) }

var dashes = [][]vg.Length{nil, {7, 3}, {2, 2.5}, {8, 3, 2, 3}, {12, 4}, {8, 3, 2, 3, 2, 3}}

// lineStyle returns the style of series i.
func lineStyle(i int, reference bool) draw.LineStyle {
	if reference {
		return draw.LineStyle{Color: inkMuted, Width: 1.2, Dashes: []vg.Length{4, 3}}
	}
	// When the colours repeat, the dashes are shifted, so that no two of the first
	// 36 series look the same.
	return draw.LineStyle{Color: seriesInk(i), Width: 1.8, Dashes: dashes[(i+i/Colors)%len(dashes)]}
}

var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{},
}

// glyph returns the mark for points of series i, or nil if they are not marked.
func glyph(i int, marked bool) *draw.GlyphStyle {
	if !marked {
		return nil
	}
	return &draw.GlyphStyle{Color: seriesInk(i), Radius: 3, Shape: shapes[(i+i/Colors)%len(shapes)]}
}

// Sizes of type, in points.
const (
	titleSize = 14
	textSize  = 11.5
	tickSize  = 11
)

// textStyle returns a style for text in the ink. Text is measured in Liberation
// Sans. Its letters are as wide as those of Arial and Helvetica, the fonts that
// svg.go asks for.
func textStyle(size vg.Length, i ink, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: i, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler,
	}
}

// fit returns the text, shortened with an ellipsis if it is wider than width.
func fit(s text.Style, txt string, width vg.Length) string {
	if s.Width(txt) <= width {
		return txt
	}
	letters := []rune(txt)
	low, high := 0, len(letters) // low letters fit, or low is 0
	for low+1 < high {
		mid := (low + high) / 2
		if s.Width(string(letters[:mid])+"…") <= width {
			low = mid
		} else {
			high = mid
		}
	}
	return strings.TrimRight(string(letters[:low]), " ") + "…"
}

// wrap breaks the text at spaces into at most the given number of lines. No line is
// wider than width. What does not fit is cut off.
func wrap(s text.Style, txt string, width vg.Length, lines int) []string {
	var out []string
	line := ""
	words := strings.Fields(txt)
	for i, w := range words {
		with := strings.TrimSpace(line + " " + w)
		if line == "" || s.Width(with) <= width {
			line = with
			continue
		}
		if len(out) == lines-1 { // the last one takes the rest
			line += " " + strings.Join(words[i:], " ")
			break
		}
		out, line = append(out, fit(s, line, width)), w
	}
	return append(out, fit(s, line, width))
}
