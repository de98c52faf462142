//go:build linux

package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// In this file: tables, and how figures are written in them.

// Table is a Markdown table. Its first columns are text, the others are figures.
type Table struct {
	Text   int // columns of it; 0 means 1
	Header []string
	Rows   [][]string
}

// Add adds a row. Cells that it lacks are empty.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the table with its columns aligned, so that it can be read as it
// is too.
func (t *Table) Write(w io.Writer) error {
	text := max(t.Text, 1)
	width := make([]int, len(t.Header))
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, n := range width {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			pad := strings.Repeat(" ", n-utf8.RuneCountInString(cell))
			if i < text {
				cell += pad
			} else {
				cell = pad + cell
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Header)
	for i, n := range width {
		end := "-"
		if i >= text {
			end = ":"
		}
		b.WriteString("|" + strings.Repeat("-", n+1) + end)
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Median returns NaN if there are no values.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// Spread gives the median, and the least and the greatest value if there are
// several.
func Spread(values []float64) string {
	if len(values) < 2 {
		return Figure(Median(values))
	}
	return fmt.Sprintf("%s (%s–%s)", Figure(Median(values)), Figure(slices.Min(values)), Figure(slices.Max(values)))
}

// Figure prints three significant digits, and all those before the point. What
// is no number is a dash; what is infinite is shown: something was used, and
// nothing done with it.
func Figure(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return fmt.Sprintf("%+.0f", v)
	case a == 0:
		return "0"
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.9995:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// Ratio gives the medians' quotient, or a dash if there is none.
func Ratio(a, b []float64) string {
	q := Median(a) / Median(b)
	if math.IsNaN(q) || math.IsInf(q, 0) {
		return "–"
	}
	return fmt.Sprintf("%.2f", q)
}
