package report

import (
	"fmt"
	"slices"

	"github.com/jobloop/jobloop/internal/load"
)

// In this file: what the template makes tables of.

// maxRows is the most rows of a table. Lists in a result are short; a file that
// someone else has made may be anything.
const maxRows = 100

type table struct {
	Title  string
	Note   string
	Narrow bool // beside another one, where there is room
	Head   []cell
	Rows   [][]cell // as many cells in each as in the head
}

// cell is text, at the right if it is a number. The first of each row is its
// heading.
type cell struct {
	Text   string
	Sub    string // smaller, after it
	Class  string // as in style.css
	Num    bool
	Swatch int    // the color of a series, from 1; 0 is none
	Link   string // the id of what it leads to
}

func text(s string) cell {
	if s == "" {
		s = none
	}
	return cell{Text: s}
}

func num(s string) cell { return cell{Text: s, Num: true} }

// classFew is the class of a percentile that is one of few.
const classFew = "few"

// tailCell has a percentile of the slowest.
func tailCell(p load.Percentiles, us, least int64) cell {
	q, class := tail(p, us, least)
	return cell{Text: q.String(), Class: class, Num: true}
}

func counted(n int64) cell { return num(count(n)) }

// heads makes a head: the first name is of text, the others are of numbers if
// they begin with ">".
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

// hasFew reports whether one of its percentiles is marked as one of few.
func (t table) hasFew() bool {
	return slices.ContainsFunc(t.Rows, func(row []cell) bool {
		return slices.ContainsFunc(row, func(c cell) bool { return c.Class == classFew })
	})
}

// add adds a row.
func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

// cut cuts off rows that are too many, and says so.
func (t *table) cut() {
	if more := len(t.Rows) - maxRows; more > 0 {
		t.Rows = t.Rows[:maxRows]
		t.Note = fmt.Sprintf("%s more are not shown. %s", count(int64(more)), t.Note)
	}
}
