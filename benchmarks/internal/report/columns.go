//go:build linux

package report

// Column is a column of figures.
type Column[R any] struct {
	Name   string
	Of     func(R) float64 // the figure of one round; NaN if it was not measured
	Higher bool            // a higher figure is the better one
}

// Figures returns one figure of all rounds.
func Figures[R any](rounds []R, of func(R) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	return values
}

// NewTable returns a table with these columns. The first headings are those of
// the cells that say what a row is about. Name begins the names of its rows in
// Go's benchmark format; it tells this table from the others of the report.
func NewTable[R any](name string, columns []Column[R], first ...string) *Table {
	t := &Table{name: name, Header: first}
	for _, c := range columns {
		t.Header = append(t.Header, c.Name)
		if c.Higher {
			unit, _ := benchUnit(c.Name)
			t.higher = append(t.higher, unit)
		}
	}
	return t
}

// AddRow adds the figures of some rounds: medians, with the least and the
// greatest. The row begins with the first cells.
func AddRow[R any](t *Table, rounds []R, columns []Column[R], first ...string) {
	for _, r := range rounds {
		var figures string
		for _, c := range columns {
			figures += benchFigure(c.Of(r), c.Name)
		}
		if figures != "" {
			t.bench = append(t.bench, t.benchName(first)+" 1"+figures)
		}
	}
	row := first
	for _, c := range columns {
		row = append(row, Spread(Figures(rounds, c.Of)))
	}
	t.Add(row...)
}

// AddRatio adds a row with the figures of one divided by those of another.
func AddRatio[R any](t *Table, name string, a, b []R, columns []Column[R]) {
	row := []string{name}
	for _, c := range columns {
		row = append(row, Ratio(Figures(a, c.Of), Figures(b, c.Of)))
	}
	t.Add(row...)
}
