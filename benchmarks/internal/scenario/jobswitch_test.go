//go:build linux

package scenario

import (
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Every way must get through two rounds, OpenSSL's if it is there.
func TestSwitches(t *testing.T) {
	res := new(switchResult)
	if err := process.RunSelf(t.Context(), process.AnyCPU, res, "switch-rounds", t.TempDir(), "--rounds", "2", "--duration", time.Microsecond.String()); err != nil {
		t.Fatal(err)
	}
	want := 8
	if res.Skipped == "" {
		want += 2
	}
	if len(res.Ways) != want {
		t.Errorf("%d ways, want %d", len(res.Ways), want)
	}
	for _, w := range res.Ways {
		if len(w.NS) != 2 || !(w.NS[0] > 0) || !(w.NS[1] > 0) {
			t.Errorf("%s with %s took %v ns in two rounds", w.Operation, w.With, w.NS)
		}
	}
}

func TestSwitchTable(t *testing.T) {
	tab := switchTable(&switchResult{Ways: []*switchWay{
		{Operation: resumePause, With: "OpenSSL ASYNC_JOB", OpenSSL: true, NS: []float64{80, 84}},
		{Operation: startFinish, With: "jobs", NS: []float64{75, 75}},
		{Operation: resumePause, With: "jobs", NS: []float64{41, 41}},
	}})
	wantPrefixes(t, rowsOf(tab), []string{
		"operation, with ns of OpenSSL's",
		"resume+pause, OpenSSL ASYNC_JOB 82.0 (80.0–84.0) 1.00",
		"resume+pause, jobs 41.0 (41.0–41.0) 0.50",
		"start+finish, jobs 75.0 (75.0–75.0) –",
	})
}
