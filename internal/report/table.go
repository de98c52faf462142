package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file has the tables that the template shows.

// maxRows is the maximum number of rows of a table. Lists in real results are short, but
// the file may come from anywhere.
const maxRows = 100

type table struct {
	ID     string // unique on the page; empty if nothing refers to it
	Title  string
	Note   string
	Narrow bool // goes beside another table if there is room
	Head   []cell
	Rows   [][]cell // as many cells in each as in the head
	X      []string // where a chart shows each row; nil if none does
}

// cell is a cell of a table. Numbers are aligned right. The first cell of each row is
// the row's heading.
type cell struct {
	Text   string
	Sub    string // smaller text after it
	Class  string // from style.css
	Num    bool
	Swatch int    // number of a series' color, from 1; 0: none
	Link   string // id of the element it links to
}

// maxWord is the longest word that is never broken, in letters. The names of cipher
// suites are shorter.
const maxWord = 40

// Classes returns the classes of the cell: its own, and those that its content needs.
func (c cell) Classes() string {
	var classes []string
	if c.Class != "" {
		classes = append(classes, c.Class)
	}
	if c.Num {
		classes = append(classes, "num")
	}
	switch {
	case slices.ContainsFunc(strings.Fields(c.Text+" "+c.Sub), func(w string) bool { return utf8.RuneCountInString(w) > maxWord }):
		classes = append(classes, "long") // words may be broken
	case c.Num:
	case utf8.RuneCountInString(c.Text) <= 20:
		classes = append(classes, "short") // stays on one line
	default:
		classes = append(classes, "text") // needs room
	}
	return strings.Join(classes, " ")
}

func text(s string) cell {
	if s == "" {
		s = none
	}
	return cell{Text: s}
}

func num(s string) cell { return cell{Text: s, Num: true} }

func counted(n int64) cell { return num(count(n)) }

// heads returns the head of a table. A name that begins with ">" heads a column of
// numbers.
func heads(names ...string) []cell {
	cells := make([]cell, len(names))
	for i, n := range names {
		if n != "" && n[0] == '>' {
			cells[i] = num(n[1:])
		} else {
			cells[i] = cell{Text: n}
		}
	}
	return cells
}

// hasWeak reports whether the table marks a percentile as weak.
func (t table) hasWeak() bool {
	return slices.ContainsFunc(t.Rows, func(row []cell) bool {
		return slices.ContainsFunc(row, func(c cell) bool { return c.Class == classWeak })
	})
}

// add adds a row.
func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

// addAt adds a row that a chart shows at x.
func (t *table) addAt(x float64, cells ...cell) {
	t.add(cells...)
	t.X = append(t.X, strconv.FormatFloat(x, 'g', 6, 64))
}

// cut removes the rows beyond maxRows and adds a note about it.
func (t *table) cut() {
	if more := len(t.Rows) - maxRows; more > 0 {
		t.Rows, t.X = t.Rows[:maxRows], t.X[:min(len(t.X), maxRows)]
		t.Note = fmt.Sprintf("%s more are not shown. %s", count(int64(more)), t.Note)
	}
}
