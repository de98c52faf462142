package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const hostile = "<script>\"&'\x00\x1b\n</style>]]>\xff"

var nan, inf = math.NaN(), math.Inf(1)

// texts returns what is written in a chart, and fails if it is not well-formed
// or has something else than shapes and text.
func texts(t *testing.T, svg []byte) []string {
	t.Helper()
	known := map[string]bool{"svg": true, "style": true, "title": true, "g": true, "path": true, "text": true}
	var out []string
	at := ""
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if at = tok.Name.Local; !known[at] {
				t.Errorf("element %s", at)
			}
		case xml.EndElement:
			at = ""
		case xml.CharData:
			if at == "text" {
				out = append(out, string(tok))
			}
		}
	}
}

func has(texts []string, want string) bool {
	for _, s := range texts {
		if s == want {
			return true
		}
	}
	return false
}

func mustLines(t *testing.T, c Config, series ...Series) []byte {
	t.Helper()
	svg, err := Lines(c, series...)
	if err != nil {
		t.Fatal(err)
	}
	return svg
}

func mustBars(t *testing.T, c Config, categories []string, series ...BarSeries) []byte {
	t.Helper()
	svg, err := Bars(c, categories, series...)
	if err != nil {
		t.Fatal(err)
	}
	return svg
}

// all is a chart of every kind.
func all(t *testing.T) map[string][]byte {
	c := Config{Title: "Title", XLabel: "seconds", YLabel: "rate", Spans: []Span{{0, 1, "warm-up"}}, Marks: []Mark{{2, "knee"}}}
	s := Series{Name: "one", X: []float64{0, 1, 2, 3}, Y: []float64{5, nan, 7, 20}, Points: true}
	log := c
	log.LogY, log.LogX = true, true
	return map[string][]byte{
		"lines": mustLines(t, c, s, Series{Name: "two", X: s.X, Y: s.X, Dashed: true}),
		"log":   mustLines(t, log, s),
		"empty": mustLines(t, c),
		"bars":  mustBars(t, c, []string{"a", "b"}, BarSeries{Name: "x", Values: []float64{1, 2}, Low: []float64{0.5, nan}, High: []float64{2, 2}}, BarSeries{Name: "y", Values: []float64{3, inf}}),
	}
}

func TestDocuments(t *testing.T) {
	again := all(t)
	for name, svg := range all(t) {
		texts(t, svg)
		if !bytes.Equal(svg, again[name]) {
			t.Errorf("%s differs the second time", name)
		}
		s := string(svg)
		for _, want := range []string{`role="img"`, `aria-label="Title. Chart of rate by seconds`, "<title>Title</title>", "@media screen and (prefers-color-scheme:dark)", `viewBox="0 0 640 360"`, `width="640"`} {
			if !strings.Contains(s, want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if strings.Contains(s, "#FEFE") || strings.Contains(s, "Liberation Sans;") {
			t.Errorf("%s has colours or fonts that should have been replaced", name)
		}
		for _, m := range regexp.MustCompile(`(?:fill|stroke):([^;"]*)`).FindAllStringSubmatch(s, -1) {
			if m[1] != "none" && m[1] != "currentColor" {
				t.Errorf("%s has %s, which no style sheet rules", name, m[0])
			}
		}
		for _, no := range []string{"url(", "@import", "@font-face", "href", "NaN", "Inf"} {
			if strings.Contains(s, no) {
				t.Errorf("%s has %s", name, no)
			}
		}
		if n := strings.Count(s, "://"); n != 1 {
			t.Errorf("%s has %d addresses, xmlns is one", name, n)
		}
	}
}

func TestInline(t *testing.T) {
	for name, svg := range all(t) {
		in := string(Inline(svg))
		texts(t, []byte(in))
		if strings.Contains(in, "<style") || strings.Contains(in, "#") || !strings.Contains(in, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="100%" viewBox="0 0 640 360"`) {
			t.Errorf("%s: %.300s", name, in)
		}
	}
	// What the page rules, it can.
	for _, class := range regexp.MustCompile(`class="(chart-[a-z0-9]+)"`).FindAllStringSubmatch(string(Inline(all(t)["lines"])), -1) {
		for _, want := range []string{"." + class[1] + "{color:#", "color:var(--" + class[1] + ",#"} {
			if strings.Count(CSS(), want) != 2 {
				t.Errorf("not for dark and light: %s", want)
			}
		}
	}
}

func TestHostileText(t *testing.T) {
	c := Config{Title: hostile, XLabel: hostile, YLabel: hostile, Spans: []Span{{0, 2, hostile}}, Marks: []Mark{{1, hostile}}, XTicks: []Tick{{1, hostile}}}
	s := Series{Name: hostile, X: []float64{0, 2}, Y: []float64{1, 2}}
	want := clean(hostile)
	for name, svg := range map[string][]byte{
		"lines": mustLines(t, c, s),
		"empty": mustLines(t, c),
		"bars":  mustBars(t, c, []string{hostile}, BarSeries{Name: hostile, Values: []float64{1}}),
	} {
		if got := texts(t, svg); !has(got, want) {
			t.Errorf("%s does not show %q: %q", name, want, got)
		}
		texts(t, Inline(svg))
	}
}

func TestNoData(t *testing.T) {
	for name, s := range map[string]Series{
		"no points":    {Name: "a"},
		"no numbers":   {X: []float64{0, 1, nan}, Y: []float64{nan, inf, 1}},
		"out of range": {X: []float64{0}, Y: []float64{1e308}},
	} {
		if !has(texts(t, mustLines(t, Config{}, s)), "no data") {
			t.Errorf("%s: it does not say so", name)
		}
	}
	if !has(texts(t, mustLines(t, Config{LogY: true}, Series{X: []float64{1, 2}, Y: []float64{0, -1}})), "no data") {
		t.Error("nothing that a logarithmic axis has: it does not say so")
	}
	for _, svg := range [][]byte{mustBars(t, Config{}, nil), mustBars(t, Config{}, []string{"a"}, BarSeries{Values: []float64{nan}})} {
		if !has(texts(t, svg), "no data") {
			t.Error("no bars: it does not say so")
		}
	}
}

// TestExtremes draws what has made plotting libraries panic, or loop.
func TestExtremes(t *testing.T) {
	values := [][]float64{{0}, {-5}, {1e-300, 1e299}, {-1e299, 1e299}, {5, 5, 5}, {1e15, 1e15 + 1}, {-1, 0}, {1, 1 + 1e-15}, {1e-9, 2e-9}, {inf, 1, nan, -inf, 2}, {math.MaxFloat64, 5e-324}}
	for _, v := range values {
		x := make([]float64, len(v))
		for i := range x {
			x[i] = float64(i)
		}
		for mode := range 8 {
			c := Config{LogX: mode&1 != 0, LogY: mode&2 != 0}
			texts(t, mustLines(t, c, Series{X: v, Y: x, Steps: mode&4 != 0}, Series{X: x, Y: v, Points: mode&4 != 0}))
			names := make([]string, len(v))
			texts(t, mustBars(t, c, names, BarSeries{Values: v, Low: x, High: v}))
		}
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		draw func() ([]byte, error)
		says string
	}{
		"lengths": {func() ([]byte, error) { return Lines(Config{Title: "T"}, Series{Name: "s", X: []float64{1}}) }, `chart "T": series 1 ("s") has 1 values of x and 0 of y`},
		"small":   {func() ([]byte, error) { return Lines(Config{Width: 3}) }, "its width of 3 points"},
		"no size": {func() ([]byte, error) { return Bars(Config{Height: nan}, nil) }, "its height of NaN points"},
		"values":  {func() ([]byte, error) { return Bars(Config{}, []string{"a"}, BarSeries{Name: "b"}) }, `("b"): 0 values for 1 categories`},
		"spread": {func() ([]byte, error) {
			return Bars(Config{}, []string{"a"}, BarSeries{Values: []float64{1}, Low: []float64{1}})
		}, "1 low and 0 high values"},
	} {
		if _, err := c.draw(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
	big := make([]float64, maxPoints+1)
	_, points := Lines(Config{}, Series{X: big, Y: big})
	_, series := Lines(Config{}, make([]Series, maxSeries+1)...)
	_, bars := Bars(Config{}, nil, make([]BarSeries, maxSeries+1)...)
	_, categories := Bars(Config{}, make([]string, maxCategories+1))
	for i, err := range []error{points, series, bars, categories} {
		if !errors.Is(err, ErrTooMuch) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// paths returns the shapes of that class.
func paths(svg []byte, class string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`<path d="([^"]*)" class="`+class+`"`).FindAllStringSubmatch(string(svg), -1) {
		out = append(out, m[1])
	}
	return out
}

func TestGaps(t *testing.T) {
	x := []float64{0, 1, 2, 3, 4, 5}
	y := []float64{1, 2, nan, 3, 4, 5}
	if n := len(paths(mustLines(t, Config{}, Series{X: x, Y: y}), "chart-1")); n != 2 {
		t.Errorf("%d lines around one gap", n)
	}
	// A value in steps holds until the gap begins: at 2, where the next could
	// have been.
	parts := split(Series{X: x, Y: y, Steps: true}, 0, lineStyle(0, false), false, false)
	if got := fmt.Sprint(parts[0].points); got != "[{0 1} {1 2} {2 2}]" {
		t.Errorf("steps before a gap: %s", got)
	}
}

func TestSeriesDifferWithoutColour(t *testing.T) {
	seen := make(map[string]int)
	for i := range maxSeries {
		st := lineStyle(i, false)
		key := fmt.Sprint(st.Color, st.Dashes)
		if j, ok := seen[key]; ok {
			t.Errorf("series %d looks like %d", i+1, j+1)
		}
		seen[key] = i
	}
	dashed := make(map[string]bool)
	for i := range Colors {
		dashed[fmt.Sprint(lineStyle(i, false).Dashes)] = true
	}
	if len(dashed) != Colors {
		t.Errorf("%d kinds of dashes for %d series", len(dashed), Colors)
	}
}

// TestContrast is WCAG 2.2's 1.4.3 (4.5:1, text) and 1.4.11 (3:1, shapes).
func TestContrast(t *testing.T) {
	luminance := func(c string) float64 {
		n, err := strconv.ParseUint(c[1:], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, weight := range []float64{.2126, .7152, .0722} {
			v := float64(n>>(16-8*i)&255) / 255
			if v <= .04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	ratio := func(a, b string) float64 {
		x, y := luminance(a), luminance(b)
		return (max(x, y) + .05) / (min(x, y) + .05)
	}
	for mode, of := range map[string]func(theme) string{"light": func(t theme) string { return t.light }, "dark": func(t theme) string { return t.dark }} {
		for i, th := range themes {
			need := 3.0
			switch ink(i) {
			case inkBackground, inkGrid, inkSpan:
				continue
			case inkText, inkMuted:
				need = 4.5
			}
			for _, behind := range []ink{inkBackground, inkSpan} {
				if got := ratio(of(th), of(themes[behind])); got < need {
					t.Errorf("%s: %s on %s has a contrast of %.2f, less than %g", mode, th.name, themes[behind].name, got, need)
				}
			}
		}
	}
}

func TestTicks(t *testing.T) {
	labels := func(lo, hi float64, log, grow bool, n int) string {
		r := axisRange{lo, hi, log}
		var out []string
		for _, tick := range r.ticks(n, grow, nil) {
			if tick.Label != "" {
				out = append(out, tick.Label)
			}
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		lo, hi    float64
		log, grow bool
		n         int
		want      string
	}{
		{0, 7300, false, true, 5, "0 2,000 4,000 6,000 8,000"},
		{0, 1, false, true, 5, "0 0.2 0.4 0.6 0.8 1"},
		{-1, 10, false, false, 6, "0 2 4 6 8 10"},
		{-1, 10, false, true, 6, "−2 0 2 4 6 8 10"},
		{120, 480, true, true, 5, "100 200 500"},
		{1, 1e6, true, true, 5, "1 100 10,000 1,000,000"},
		{150, 90_000, true, true, 5, "100 1,000 10,000 100,000"},
	} {
		if got := labels(c.lo, c.hi, c.log, c.grow, c.n); got != c.want {
			t.Errorf("%g to %g: %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

func TestFitAndWrap(t *testing.T) {
	st := legendText
	long := strings.Repeat("word ", 40)
	if got := fit(st, long, 100); st.Width(got) > 100 || !strings.HasPrefix(got, "word word") || !strings.HasSuffix(got, "…") {
		t.Errorf("cut to %q, %v wide", got, st.Width(got))
	}
	if got := fit(st, "short", 100); got != "short" {
		t.Errorf("%q", got)
	}
	lines := wrap(st, long, 100, 3)
	if len(lines) != 3 || !strings.HasSuffix(lines[2], "…") {
		t.Errorf("%q", lines)
	}
	for _, l := range lines {
		if st.Width(l) > 100 {
			t.Errorf("%q is %v wide", l, st.Width(l))
		}
	}
	if got := wrap(st, "", 100, 3); len(got) != 1 || got[0] != "" {
		t.Errorf("%q of nothing", got)
	}
}

// TestBarsAreAsHighAsTheirValues compares them with the grid.
func TestBarsAreAsHighAsTheirValues(t *testing.T) {
	svg := mustBars(t, Config{}, []string{"a", "b"}, BarSeries{Values: []float64{100, 25}})
	height := func(paths ...string) float64 {
		low, high := inf, -inf
		for _, m := range regexp.MustCompile(`[ML][0-9.]+,([0-9.]+)`).FindAllStringSubmatch(strings.Join(paths, ""), -1) {
			y, _ := strconv.ParseFloat(m[1], 64)
			low, high = min(low, y), max(high, y)
		}
		return high - low
	}
	bars, grid := paths(svg, "chart-1"), height(paths(svg, "chart-grid")...) // which is from 0 to 100
	if len(bars) != 2 || math.Abs(height(bars[0])/grid-1) > 0.01 || math.Abs(height(bars[1])/grid-0.25) > 0.01 {
		t.Errorf("bars of 100 and 25 do not reach as far into a grid up to 100: %v in %g", bars, grid)
	}
	if got := texts(t, svg); !has(got, "100") || !has(got, "25") || !has(got, "a") {
		t.Errorf("values or names are missing: %q", got)
	}
}

func Example() {
	svg, err := Lines(Config{Title: "Handshakes", XLabel: "seconds", YLabel: "per second"},
		Series{Name: "server", X: []float64{0, 1, 2}, Y: []float64{900, 1000, 950}})
	fmt.Println(len(svg) > 0, err)
	// Output: true <nil>
}

// Uncertain values are thin: steps as long as their value holds, and lines on both
// sides of the point.
func TestWeakValuesAreThin(t *testing.T) {
	x, y := []float64{0, 1, 2, 3, 4}, []float64{10, 20, 30, 40, 50}
	show := func(s Series) string {
		var out []string
		for _, p := range split(s, 0, lineStyle(0, false), false, false) {
			how := "thick"
			if p.weak {
				how = "thin"
			}
			if (p.style.Width < lineStyle(0, false).Width) != p.weak {
				t.Errorf("a part that is weak (%v) has a width of %v", p.weak, p.style.Width)
			}
			if p.glyph != nil && (p.glyph.Radius < glyph(0, true).Radius) != p.weak {
				t.Errorf("a part that is weak (%v) has points of radius %v", p.weak, p.glyph.Radius)
			}
			out = append(out, how+fmt.Sprint(p.points))
		}
		return strings.Join(out, " ")
	}
	weak := func(at ...int) []bool {
		w := make([]bool, len(x))
		for _, i := range at {
			w[i] = true
		}
		return w
	}
	for _, c := range []struct {
		s    Series
		want string
	}{
		{Series{X: x, Y: y}, "thick[{0 10} {1 20} {2 30} {3 40} {4 50}]"},
		{Series{X: x, Y: y, Weak: weak(2)}, "thick[{0 10} {1 20}] thin[{1 20} {2 30} {3 40}] thick[{3 40} {4 50}]"},
		{Series{X: x, Y: y, Weak: weak(2), Steps: true}, "thick[{0 10} {1 20} {2 30}] thin[{2 30} {3 40}] thick[{3 40} {4 50}]"},
		{Series{X: x, Y: y, Weak: weak(0, 1, 2, 3, 4), Points: true}, "thin[{0 10} {1 20} {2 30} {3 40} {4 50}]"},
		{Series{X: x, Y: []float64{10, nan, 30, nan, 50}, Weak: weak(0)}, "thin[{0 10}] thick[{2 30}] thick[{4 50}]"},
		{Series{X: x, Y: []float64{10, nan, 30, nan, 50}, Weak: weak(2), Steps: true}, "thick[{0 10} {1 10}] thin[{2 30} {3 30}] thick[{4 50}]"},
	} {
		if got := show(c.s); got != c.want {
			t.Errorf("%v, steps %v: %s, want %s", c.s.Weak, c.s.Steps, got, c.want)
		}
	}
	if _, err := Lines(Config{}, Series{X: x, Y: y, Weak: weak()[1:]}); err == nil || !strings.Contains(err.Error(), "5 values and says of 4") {
		t.Errorf("weak for another number of values: %v", err)
	}
}

// data-plot is where the data is: a line over the whole range reaches from edge to
// edge.
func TestDataPlot(t *testing.T) {
	svg := mustLines(t, Config{}, Series{X: []float64{-1, 9}, Y: []float64{0, 100}})
	m := regexp.MustCompile(`<svg [^>]* data-plot="([0-9.]+) ([0-9.]+) ([0-9.]+) ([0-9.]+) (\S+) (\S+)">`).FindStringSubmatch(string(svg))
	if m == nil {
		t.Fatalf("none: %.400s", svg)
	}
	if m[5] != "-1" || m[6] != "9" {
		t.Errorf("from %s to %s", m[5], m[6])
	}
	line := regexp.MustCompile(`[ML]([0-9.]+),([0-9.]+)`).FindAllStringSubmatch(strings.Join(paths(svg, "chart-1"), ""), -1)
	// gonum writes the paths upside down, in a group that is turned over.
	for i, want := range []string{m[1], m[2]} {
		got, _ := strconv.ParseFloat(line[i][1], 64)
		if edge, _ := strconv.ParseFloat(want, 64); math.Abs(got-edge) > 0.1 {
			t.Errorf("the line's end %d is at %g, data-plot says %g", i, got, edge)
		}
	}
	for name, c := range map[string]Config{"ticks": {XTicks: []Tick{{-3, ""}, {12, ""}}}, "included": {XInclude: []float64{-3, 12, nan}}} {
		if svg := string(mustLines(t, c, Series{X: []float64{-1, 9}, Y: []float64{0, 100}})); !strings.Contains(svg, ` -3 12">`) {
			t.Errorf("%s do not extend the axis", name)
		}
	}
	top, _ := strconv.ParseFloat(m[3], 64)
	bottom, _ := strconv.ParseFloat(m[4], 64)
	if !(top > 0 && top < bottom && bottom < DefaultHeight) {
		t.Errorf("top %g, bottom %g", top, bottom)
	}
	for name, svg := range map[string][]byte{"no data": mustLines(t, Config{}), "logarithmic": mustLines(t, Config{LogX: true}, Series{X: []float64{1, 2}, Y: []float64{1, 2}})} {
		if strings.Contains(string(svg), "data-plot") {
			t.Errorf("%s: has data-plot", name)
		}
	}
}

func TestTicksThatWouldTouchHaveNoLabel(t *testing.T) {
	c := Config{Width: 330, XTicks: []Tick{{0, "0"}, {.3, "50 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "99.99 %"}, {5, "99.999 %"}}}
	s := Series{X: []float64{0, 5}, Y: []float64{1, 2}}
	narrow := texts(t, mustLines(t, c, s))
	c.Width = 640
	wide := texts(t, mustLines(t, c, s))
	if has(narrow, "50 %") || !has(narrow, "90 %") || !has(narrow, "99.99 %") || !has(wide, "50 %") {
		t.Errorf("narrow %q, wide %q", narrow, wide)
	}
}
