//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jobloop/jobloop/internal/bench"
)

// This file is what all parts have in common: the order in which servers are
// measured, and the rows of the tables.

// series is what was measured of one server, round by round.
type series[R any] struct {
	Server string `json:"server"`
	Key    string `json:"key,omitempty"` // the server's kind of key
	Rounds []R    `json:"rounds"`
}

func (s *series[R]) String() string {
	if s.Key == "" {
		return s.Server
	}
	return s.Server + ", " + s.Key
}

// column is a column of figures: its heading, and the figure of one round.
type column[R any] struct {
	name string
	f    func(R) float64
}

func (s *series[R]) figures(c column[R]) []float64 {
	values := make([]float64, len(s.Rounds))
	for i, r := range s.Rounds {
		values[i] = c.f(r)
	}
	return values
}

// measureRounds calls measure once for each round and server. Every other round
// goes through them backwards, so that none always comes after the same one. A
// server that fails has no more rounds, which takes nothing from the others; its
// error is returned at the end. So is what ended ctx: what was measured until
// then is worth a table, but not all that was asked for.
func measureRounds[R any](ctx context.Context, n int, all []*series[R], measure func(*series[R]) (R, error)) error {
	failed := make([]error, len(all))
	for round := range n {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			if failed[i] != nil {
				continue
			}
			progress("round %d of %d: %v", round+1, n, all[i])
			r, err := measure(all[i])
			switch {
			case ctx.Err() != nil: // which is why it failed, if it did
				return errors.Join(append(failed, context.Cause(ctx))...)
			case err != nil:
				failed[i] = fmt.Errorf("%v, round %d: %w", all[i], round+1, err)
				progress("%v", failed[i])
			default:
				all[i].Rounds = append(all[i].Rounds, r)
			}
		}
	}
	return errors.Join(failed...)
}

// tableOf has a row for each server, and below those of one kind of key, the
// others divided by the goroutine server.
func tableOf[R any](all []*series[R], columns []column[R]) *bench.Table {
	t := &bench.Table{Header: []string{"server"}}
	keys := all[0].Key != ""
	if keys {
		t.Text, t.Header = 2, []string{"key", "server"}
	}
	for _, c := range columns {
		t.Header = append(t.Header, c.name)
	}
	first := func(s *series[R], name string) []string {
		if keys {
			return []string{s.Key, name}
		}
		return []string{name}
	}
	for i, s := range all {
		row := first(s, s.Server)
		for _, c := range columns {
			row = append(row, bench.Spread(s.figures(c)))
		}
		t.Add(row...)
		if i+1 < len(all) && all[i+1].Key == s.Key {
			continue
		}
		peer := find(all, nameGoroutines, s.Key)
		if peer == nil {
			continue
		}
		for _, s := range all {
			if s.Key != peer.Key || s == peer {
				continue
			}
			row := first(s, s.Server+" / "+peer.Server)
			for _, c := range columns {
				row = append(row, bench.Ratio(s.figures(c), peer.figures(c)))
			}
			t.Add(row...)
		}
	}
	return t
}

func find[R any](all []*series[R], server, key string) *series[R] {
	for _, s := range all {
		if s.Server == server && s.Key == key {
			return s
		}
	}
	return nil
}
