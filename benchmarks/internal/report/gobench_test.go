//go:build linux

package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

var testColumns = []Column[float64]{
	{Name: "p50, ms", Of: func(v float64) float64 { return v }},
	{Name: "handshakes/s", Of: func(v float64) float64 { return 1000 * v }, Higher: true},
	{Name: "switches/s", Of: func(v float64) float64 { return 10 * v }},
	{Name: "asked, /s", Of: func(v float64) float64 { return math.Sqrt(v - 2) }}, // not always a number
}

// Benchstat's own reader must find one result for each round of each row, under
// names that tell them apart, and nothing that was not measured.
func TestGoBench(t *testing.T) {
	servers := NewTable("rsa2048", testColumns, "server", "connections")
	AddRow(servers, []float64{1, 3}, testColumns, "half: jobloop *", "1000")
	AddRow(servers, nil, testColumns, "failed", "1000")
	AddRow(servers, []float64{math.NaN()}, testColumns, "nothing", "1000")
	AddRatio(servers, "a / b", []float64{1}, []float64{2}, testColumns)
	keys := NewTable("", testColumns, "key, server")
	AddRow(keys, []float64{math.Inf(1), 6}, testColumns, "rsa2048, no handshakes, jobloop")
	r := &Report{Scenario: "idle", Machine: "a processor, 2 cores", cpu: "a processor"}
	r.Add(servers, keys)

	want := []string{
		"Idle/rsa2048/half/jobloop/connections=1000 map[handshakes/s:1000 p50-sec:0.001 switches/s:10]",
		"Idle/rsa2048/half/jobloop/connections=1000 map[asked/s:1 handshakes/s:3000 p50-sec:0.003 switches/s:30]",
		"Idle/rsa2048/no_handshakes/jobloop map[asked/s:2 handshakes/s:6000 p50-sec:0.006 switches/s:60]",
	}
	out := Outcome{Reports: []*Report{r}}
	reader := benchfmt.NewReader(strings.NewReader(string(out.goBench())), "results.txt")
	var got []string
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.Result:
			values := make(map[string]float64)
			for _, v := range record.Values {
				values[v.Unit] = v.Value
			}
			got = append(got, fmt.Sprint(record.Name.String(), " ", values))
			if record.GetConfig("pkg") != "idle" || record.GetConfig("cpu") != r.cpu || record.Iters != 1 {
				t.Errorf("%+v", record)
			}
		case *benchfmt.SyntaxError:
			t.Error(record)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for unit, want := range map[string]int{"handshakes/s": 1, "switches/s": 0, "p50-sec": 0} {
		if got := reader.Units().GetBetter(unit); got != want {
			t.Errorf("better of %s is %d, want %d", unit, got, want)
		}
	}
}
