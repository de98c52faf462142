package report

import (
	"fmt"
	"slices"

	"github.com/jobloop/jobloop/internal/load"
)

// This file has the tables that the template shows.

// maxRows is the maximum number of rows of a table. Lists in real results are short, but
// the file may come from anywhere.
const maxRows = 100

type table struct {
	Title  string
	Note   string
	Narrow bool // goes beside another table if there is room
	Head   []cell
	Rows   [][]cell // as many cells in each as in the head
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

func text(s string) cell {
	if s == "" {
		s = none
	}
	return cell{Text: s}
}

func num(s string) cell { return cell{Text: s, Num: true} }

// classFew is the class of a percentile of too few handshakes.
const classFew = "few"

// tailCell returns a cell with a high percentile.
func tailCell(p load.Percentiles, us, least int64) cell {
	q, class := tail(p, us, least)
	return cell{Text: q.String(), Class: class, Num: true}
}

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

// hasFew reports whether the table has a percentile of too few handshakes.
func (t table) hasFew() bool {
	return slices.ContainsFunc(t.Rows, func(row []cell) bool {
		return slices.ContainsFunc(row, func(c cell) bool { return c.Class == classFew })
	})
}

// add adds a row.
func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

// cut removes the rows beyond maxRows and adds a note about it.
func (t *table) cut() {
	if more := len(t.Rows) - maxRows; more > 0 {
		t.Rows = t.Rows[:maxRows]
		t.Note = fmt.Sprintf("%s more are not shown. %s", count(int64(more)), t.Note)
	}
}
