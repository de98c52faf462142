package report

import (
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// wantRow checks that a table has a row whose cells begin with these texts.
func wantRow(t *testing.T, table table, want ...string) {
	t.Helper()
	var rows []string
	for _, row := range table.Rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, strings.ReplaceAll(c.Text, "\u00a0", " "))
		}
		rows = append(rows, strings.Join(cells, "|"))
		if strings.HasPrefix(rows[len(rows)-1], strings.Join(want, "|")) {
			return
		}
	}
	t.Errorf("%s: no row %q in\n%s", table.Title, want, strings.Join(rows, "\n"))
}

func TestEachTargetHasItsLatency(t *testing.T) {
	r := result(3000, 3000)
	r.Targets = []load.Target{
		{Target: "server:443", Address: "192.0.2.1:443", Handshakes: 2000, Latency: load.Percentiles{Count: 2000, P50: 1000, P99: 5000, Max: 7000}},
		{Target: "server:443", Address: "192.0.2.2:443", Handshakes: 20, Errors: 4, Latency: load.Percentiles{Count: 20, P50: 2000, P99: 9000, Max: 9000}},
		{Target: "old:443", Address: "192.0.2.3:443", Handshakes: 20}, // of an older result
	}
	wantRow(t, targetsTable(r), "server:443", "192.0.2.1:443", "2,000", "0", "1.00 ms", "5.00 ms", "7.00 ms")
	wantRow(t, targetsTable(r), "server:443", "192.0.2.2:443", "20", "4", "2.00 ms", "~9.00 ms", "9.00 ms")
	wantRow(t, targetsTable(r), "old:443", "192.0.2.3:443", "20", "0", none, none, none)
}

func TestOtherClientsAreShown(t *testing.T) {
	r := result(3000, 3000)
	r.Total.Aborted = map[string]int64{"connected": 3, "in the hello": 4}
	r.HeldEndedAfter = &load.Percentiles{Count: 5, Min: 1_000_000, P50: 1_000_000}
	wantRow(t, totalsTable(r), "Aborted by the client: connected", "3")
	wantRow(t, totalsTable(r), "Aborted by the client: in the hello", "4")
	wantRow(t, phasesTable(r), "Held connections that the server ended, after", "5", "1.00 s")
}

func TestUnmetThresholdsAreShown(t *testing.T) {
	r := result(3000, 3000)
	r.Unmet = []string{"p99 latency was 61ms, above --max-p99 50ms"}
	if page := pageOf(t, Run{"a", r}); !strings.Contains(page, "<b>Not met:</b></p>\n<ul><li>p99 latency was 61ms, above --max-p99 50ms</li></ul>") {
		t.Error("the page does not show it")
	}
}
