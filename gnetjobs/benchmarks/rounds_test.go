//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func seriesOf(names ...string) (all []*series[float64]) {
	for _, name := range names {
		all = append(all, &series[float64]{Server: name})
	}
	return all
}

// Every other round is backwards, and a server that has failed has no more.
func TestMeasureRounds(t *testing.T) {
	wrong := errors.New("wrong")
	var order []string
	all := seriesOf("a", "b", "c")
	err := measureRounds(t.Context(), 3, all, func(s *series[float64]) (float64, error) {
		order = append(order, s.Server)
		if s.Server == "b" && len(s.Rounds) == 1 {
			return 0, wrong
		}
		return float64(len(order)), nil
	})
	if got := strings.Join(order, ""); got != "abccbaac" {
		t.Errorf("order %s", got)
	}
	if !errors.Is(err, wrong) || !strings.HasPrefix(err.Error(), "b, round 2: ") {
		t.Errorf("error %v", err)
	}
	if got := fmt.Sprint(all[0].Rounds, all[1].Rounds, all[2].Rounds); got != "[1 6 7] [2] [3 4 8]" {
		t.Errorf("figures %s", got)
	}
}

func TestMeasureRoundsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	all := seriesOf("a", "b")
	err := measureRounds(ctx, 2, all, func(s *series[float64]) (float64, error) {
		if s.Server == "b" {
			cancel()
			return 0, errors.New("killed")
		}
		return 1, nil
	})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
	if len(all[0].Rounds) != 1 || all[1].Rounds != nil {
		t.Errorf("rounds %v, %v", all[0].Rounds, all[1].Rounds)
	}
}

// Ratios are to the goroutine server with the same kind of key.
func TestTableOf(t *testing.T) {
	all := []*series[float64]{
		{"gnetjobs", "K1", []float64{1, 2, 3}},
		{"goroutines", "K1", []float64{4}},
		{"gnetjobs", "K2", []float64{5}},
		{"goroutines", "K2", []float64{20}},
		{"gnetjobs", "K3", []float64{7}},
	}
	tab := tableOf(all, []column[float64]{{"figure", func(v float64) float64 { return v }}})
	var got []string
	for _, row := range append([][]string{tab.Header}, tab.Rows...) {
		got = append(got, strings.Join(row, ";"))
	}
	want := `key;server;figure
K1;gnetjobs;2.00 (1.00–3.00)
K1;goroutines;4.00
K1;gnetjobs / goroutines;0.50
K2;gnetjobs;5.00
K2;goroutines;20.0
K2;gnetjobs / goroutines;0.25
K3;gnetjobs;7.00`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
