//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// fake does what its function does.
type fake struct {
	do func(*run) error
}

func (f *fake) quick() {}

func (f *fake) measure(_ context.Context, r *run) error { return f.do(r) }

// A scenario that fails, is skipped, or says that its results are doubtful takes
// nothing from the others.
func TestScenariosThatFail(t *testing.T) {
	out := new(report.Outcome)
	scenario := func(name string, do func(*run) error) {
		t.Helper()
		e := Entry{Name: name, Title: "Of " + name, New: func() Scenario { return &fake{do} }}
		if _, err := runOne(t.Context(), out, e, []string{"--quick"}); err != nil {
			t.Fatal(err)
		}
	}
	scenario("storm", func(*run) error { return errors.New("it rains") })
	scenario("requests", func(*run) error { return fmt.Errorf("%w: no wrk", ErrSkipped) })
	scenario("idle", func(r *run) error { r.Results = 42; return nil })
	scenario("soak", func(r *run) error { r.Results = 43; return errors.New("a leak") })
	if len(out.Reports) != 2 || out.Reports[0].Title != "Of idle" || out.Reports[1].Results != 43 || !strings.HasSuffix(out.Reports[1].Command, " soak --quick") {
		t.Errorf("reports %+v", out.Reports)
	}
	want := []report.Missing{{Scenario: "storm", Why: "it rains"}, {Scenario: "requests", Skipped: true, Why: "SKIPPED: no wrk"}, {Scenario: "soak", Why: "a leak"}}
	if !slices.Equal(out.Missing, want) {
		t.Errorf("missing %+v, want %+v", out.Missing, want)
	}
}

func TestSkipped(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if err := new(requests).measure(t.Context(), newRun(t)); !errors.Is(err, ErrSkipped) || !strings.Contains(err.Error(), "wrk") {
		t.Errorf("error %v", err)
	}
}
