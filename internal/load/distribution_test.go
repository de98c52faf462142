package load

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"
)

// thousand is a result with latencies of 1 to 1,000 milliseconds.
func thousand() *Result {
	l := newLatencies()
	for ms := range 1000 {
		record(l.latency, time.Duration(ms+1)*time.Millisecond)
	}
	res := new(Result)
	l.describe(res, false)
	return res
}

func TestHGRM(t *testing.T) {
	var out strings.Builder
	if err := thousand().WriteHGRM(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Fields(lines[0]); fmt.Sprint(got) != "[Value Percentile TotalCount 1/(1-Percentile)]" {
		t.Errorf("head %q", got)
	}
	rows := make(map[string][]string) // by percentile
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) == 4 && f[0][0] != '#' {
			rows[f[1]] = f
		}
	}
	for _, want := range []string{"[500.223 0.500000 500 2.00]", "[1000.447 1.000000 1000 inf]"} {
		if got := fmt.Sprint(rows[strings.Fields(want)[1]]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !strings.Contains(out.String(), "Total count    =         1000]") {
		t.Errorf("no count in\n%s", out.String())
	}
}

func TestCSV(t *testing.T) {
	res := thousand()
	var out strings.Builder
	if err := res.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "head", fmt.Sprint(rows[0]), "[percentile latency_us handshakes]")
	want(t, "rows", len(rows)-1, len(res.Distribution))
	for i, q := range res.Distribution {
		want(t, "a row", strings.Join(rows[i+1][:2], " "), fmt.Sprint(q.Percentile, " ", q.Latency))
	}
	want(t, "the last row", fmt.Sprint(rows[len(rows)-1]), "[100 1000447 1000]")

	// Nothing was measured.
	out.Reset()
	if err := new(Result).WriteCSV(&out); err != nil || out.String() != "percentile,latency_us,handshakes\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := new(Result).WriteHGRM(&out); err != nil {
		t.Error(err)
	}
}
