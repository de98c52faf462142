//go:build linux

package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a Markdown table. Its first column is text, the others are figures.
type Table struct {
	Header []string
	Rows   [][]string

	// In Go's benchmark format; see gobench.go.
	name   string
	bench  []string // lines: one round of one row each
	higher []string // units of which more is better
}

// Add adds a row. Cells that it lacks are empty.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Append adds a cell to the last row.
func (t *Table) Append(cell string) {
	last := &t.Rows[len(t.Rows)-1]
	*last = append(*last, cell)
}

// String returns the table with its columns aligned, so that its source can be
// read too.
func (t *Table) String() string {
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
			if i == 0 {
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
		if i > 0 {
			end = ":"
		}
		b.WriteString("|" + strings.Repeat("-", n+1) + end)
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// measured returns the values that are numbers, sorted.
func measured(values []float64) []float64 {
	return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(values), math.IsNaN)))
}

// Median is that of the values that were measured, or NaN if none was.
func Median(values []float64) float64 {
	v := measured(values)
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Spread gives the median, and the least and the greatest value if several were
// measured.
func Spread(values []float64) string {
	v := measured(values)
	if len(v) < 2 {
		return Figure(Median(v))
	}
	return fmt.Sprintf("%s (%s–%s)", Figure(Median(v)), Figure(v[0]), Figure(v[len(v)-1]))
}

// Figure prints three significant digits, and all digits before the point. NaN is a
// dash. An infinite figure is printed, because it says something: resources were
// used and nothing was done.
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
