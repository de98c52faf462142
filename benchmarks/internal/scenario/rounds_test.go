//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

type contender string

func (c contender) Name() string { return string(c) }

func TestRounds(t *testing.T) {
	var order string
	c := []contender{"a", "b", "c"}
	err := rounds(t.Context(), 3, c, func(c contender) error { order += string(c); return nil })
	if order != "abccbaabc" || err != nil {
		t.Errorf("order %s, %v", order, err)
	}

	// One that fails has no more rounds.
	order = ""
	wrong := errors.New("wrong")
	results, err := collect(t.Context(), 3, c, func(c contender) (int, error) {
		if order += string(c); c == "b" {
			return 0, wrong
		}
		return len(order), nil
	})
	if order != "abccaac" || !errors.Is(err, wrong) || err.Error() != "b, round 1: wrong" || fmt.Sprint(results) != "map[a:[1 5 6] c:[3 4 7]]" {
		t.Errorf("order %s, results %v, error %v", order, results, err)
	}

	order = ""
	ctx, cancel := context.WithCancel(t.Context())
	err = rounds(ctx, 3, c, func(c contender) error { order += string(c); cancel(); return nil })
	if order != "a" || !errors.Is(err, context.Canceled) {
		t.Errorf("order %q after the end, error %v", order, err)
	}

	// Who fails because of the end is not to blame, and who failed before is.
	ctx, cancel = context.WithCancel(t.Context())
	err = rounds(ctx, 3, c, func(c contender) error {
		if c == "b" {
			cancel()
		}
		return wrong
	})
	if err == nil || err.Error() != "a, round 1: wrong\ncontext canceled" {
		t.Errorf("error %v", err)
	}
}

// Each of ours is compared with every peer, and with those of ours that are named
// after it.
func TestComparisons(t *testing.T) {
	for names, want := range map[string]string{
		"jobloop nginx haproxy":                 "jobloop/nginx jobloop/haproxy",
		"nginx jobloop":                         "jobloop/nginx",
		"jobloop-multibuffer jobloop nginx":     "jobloop-multibuffer/jobloop jobloop-multibuffer/nginx jobloop/nginx",
		"gnetjobs goroutines gnet gnetjobs-job": "gnetjobs/goroutines gnetjobs/gnet gnetjobs/gnetjobs-job gnetjobs-job/goroutines gnetjobs-job/gnet",
		"nginx haproxy":                         "",
	} {
		var got []string
		for _, pair := range comparisons(strings.Fields(names)) {
			got = append(got, pair[0]+"/"+pair[1])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", names, got, want)
		}
	}
}

func TestServerTable(t *testing.T) {
	columns := []report.Column[float64]{{Name: "figure", Of: func(v float64) float64 { return v }}}
	results := map[string][]float64{"jobloop": {1, 2, 3}, "goroutines": {4}}
	wantPrefixes(t, rowsOf(serverTable("", "server", []string{"jobloop", "goroutines", "nginx"}, results, columns)), []string{
		"server figure", "jobloop 2.00 (1.00–3.00)", "goroutines 4.00", "nginx –", "jobloop / goroutines 0.50", "jobloop / nginx –",
	})
}
