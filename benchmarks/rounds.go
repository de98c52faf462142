//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file is what parts have in common that measure servers in rounds: the
// order they are measured in, and the rows of their tables.

// measured is a column of figures: its heading, and the figure of one round.
type measured[R any] struct {
	name string
	f    func(R) float64
}

// ofRounds returns one figure of all rounds.
func ofRounds[R any](rounds []R, f func(R) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	return values
}

// row has the figures of one server's rounds after its first cells.
func row[R any](rounds []R, columns []measured[R], first ...string) []string {
	for _, c := range columns {
		first = append(first, bench.Spread(ofRounds(rounds, c.f)))
	}
	return first
}

// addServers adds a row for each server, and one for each pair to compare with
// the one's figures divided by the other's. The rows begin with prefix.
func addServers[R any](t *bench.Table, prefix string, names []string, results map[string][]R, columns []measured[R]) {
	for _, name := range names {
		t.Add(row(results[name], columns, prefix+name)...)
	}
	for _, pair := range comparisons(names) {
		row := []string{prefix + pair[0] + " / " + pair[1]}
		for _, c := range columns {
			row = append(row, bench.Ratio(ofRounds(results[pair[0]], c.f), ofRounds(results[pair[1]], c.f)))
		}
		t.Add(row...)
	}
}

// headings are those of columns, after the first ones'.
func headings[R any](columns []measured[R], header ...string) []string {
	for _, c := range columns {
		header = append(header, c.name)
	}
	return header
}

// rounds calls measure once for each round and contender, which may be a server
// or a client. Every other round goes through them backwards, so that none always
// comes after the same one. One that fails has no more rounds, which takes nothing
// from the others; its error is returned at the end. So is what ended ctx: what
// was measured until then is worth a report, but not all that was asked for.
func rounds[C interface{ String() string }](ctx context.Context, n int, contenders []C, measure func(C) error) error {
	if n < 1 {
		return fmt.Errorf("--rounds: %d, at least 1 is needed", n)
	}
	failed := make([]error, len(contenders))
	for round := range n {
		for i := range contenders {
			if round%2 == 1 {
				i = len(contenders) - 1 - i
			}
			if failed[i] != nil {
				continue
			}
			err := measure(contenders[i])
			if ctx.Err() != nil { // which is why it failed, if it did
				return errors.Join(append(failed, context.Cause(ctx))...)
			}
			if err != nil {
				failed[i] = fmt.Errorf("%v, round %d: %w", contenders[i], round+1, err)
				progress("%v", failed[i])
			}
		}
	}
	return errors.Join(failed...)
}

// kinds tells errors by kind, each with an example.
func kinds(n map[string]int64, examples map[string]string) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		s := fmt.Sprintf("%d %s", n[kind], kind)
		if e := examples[kind]; e != "" {
			s += fmt.Sprintf(" (%s)", e)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}
