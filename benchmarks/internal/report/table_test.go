//go:build linux

package report

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := Median(tt.values); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v, want NaN", got)
	}
	unsorted := []float64{2, 1}
	if Median(unsorted); unsorted[0] != 2 {
		t.Error("Median has sorted its argument")
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.1234: "0.123", 0.9999: "1.00", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100",
		-12.34: "-12.3", 123456.7: "123457", math.NaN(): "–", math.Inf(1): "+Inf", math.Inf(-1): "-Inf",
	} {
		if got := Figure(v); got != want {
			t.Errorf("Figure(%v) = %s, want %s", v, got, want)
		}
	}
	for want, values := range map[string][]float64{
		"–":                {math.NaN(), math.NaN()},
		"2.00":             {2},
		"2.00 (1.00–40.0)": {40, 1, 2},

		// What was not measured is not there.
		"1.00":             {math.NaN(), 1},
		"2.00 (1.00–3.00)": {1, math.NaN(), 3},
	} {
		if got := Spread(values); got != want {
			t.Errorf("Spread(%v) = %s, want %s", values, got, want)
		}
	}
	if got := Ratio([]float64{1, 2, 9}, []float64{4}); got != "0.50" {
		t.Errorf("Ratio of the medians = %s, want 0.50", got)
	}
	for _, peer := range [][]float64{nil, {0}} {
		if got := Ratio([]float64{1}, peer); got != "–" {
			t.Errorf("Ratio to %v = %s, want –", peer, got)
		}
	}
}

func TestTable(t *testing.T) {
	tab := &Table{Header: []string{"server", "µs"}}
	tab.Add("a–b", "12.5")
	tab.Add("short")
	want := `| server |   µs |
|--------|-----:|
| a–b    | 12.5 |
| short  |      |
`
	if got := tab.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
