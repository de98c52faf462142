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
	var out strings.Builder
	if err := run(&out, 1, time.Microsecond); err != nil {
		t.Fatal(err)
	}
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
