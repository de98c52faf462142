package main

import (
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 2, 9}, 3},
	}
	for _, tt := range tests {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

// Every contender must get through a round, OpenSSL's if they are there.
func TestRun(t *testing.T) {
	res, err := run(2, time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range res.Ways {
		if len(w.NS) != 2 || !(w.NS[0] > 0) || !(w.NS[1] > 0) {
			t.Errorf("%s with %s took %v ns in two rounds", w.Operation, w.With, w.NS)
		}
	}
	var out strings.Builder
	res.print(&out, 2, time.Microsecond)
	rows := 8
	if !strings.Contains(out.String(), "OpenSSL skipped") {
		rows += 2
	}
	for _, operation := range []string{resumePause, startFinish} {
		if n := strings.Count(out.String(), "| "+operation+" |"); n != rows/2 {
			t.Errorf("%d rows of %s, want %d, in:\n%s", n, operation, rows/2, out.String())
		}
	}
}
