package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestCrowded has figures in seconds. Those of the first four cases were measured on two
// cores.
func TestCrowded(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, c := range []struct {
		name             string
		cores            int
		elapsed          float64
		all, own, waited float64
		others           float64
		yes              bool
	}{
		{"idle, plain signatures", 2, 2.08, 2.71, 2.715, 0.160, 0, false},
		{"idle, multi-buffer: the demo's own threads wait", 2, 2.03, 3.24, 3.45, 0.649, -0.05, false},
		{"a busy loop on each core", 2, 2.1, 4.15, 1.792, 1.397, 0.56, true},
		{"busy cores take most of a run", 2, 2.1, 4.85, 1.449, 3.391, 0.81, true},
		{"a little of other work", 2, 2, 3.3, 3.0, 0.7, 0.075, false},
		{"other work on a part of 64 cores", 64, 2, 66, 2.7, 0.05, 0.49, false},
		{"other work on all of 64 cores", 64, 2, 128, 1.9, 1.6, 0.985, true},
		{"too short to be judged", 2, 0.5, 1, 0.4, 0.5, 0, false},
		{"nothing is known", 0, 2, 0, 2.7, 0, 0, false},
		{"nothing was done", 2, 2, 4, 0, 0, 0, false},
	} {
		u := coreUse{c.cores, seconds(c.all), seconds(c.own), seconds(c.waited)}
		others, yes := u.crowded(seconds(c.elapsed))
		if yes != c.yes || others < c.others-0.01 || others > c.others+0.01 {
			t.Errorf("%s: %v, others %.3f; want %v, %.3f", c.name, yes, others, c.yes, c.others)
		}
	}
}

// The sentence is under the table. It names the share of the worse run.
func TestDemoSaysThatItWasDisturbed(t *testing.T) {
	told := func(plain, multibuffer coreUse) string {
		t.Helper()
		a, b := fakeRun("plain", engineNone, 100, 50), fakeRun("multibuffer", engineMultibuffer, 250, 10)
		a.cores, b.cores = plain, multibuffer
		var out, errs bytes.Buffer
		if err := summarize(&console{&out, &errs}, []*demoRun{a, b}); err != nil || errs.Len() > 0 {
			t.Errorf("error %v, stderr %q", err, &errs)
		}
		_, after, _ := strings.Cut(out.String(), "threads that ran jobs")
		_, after, _ = strings.Cut(after, "\n")
		return after
	}
	idle := coreUse{2, 1300 * time.Millisecond, 1300 * time.Millisecond, 100 * time.Millisecond}
	busy := coreUse{2, 2 * time.Second, 1040 * time.Millisecond, 900 * time.Millisecond}
	if s := told(idle, idle); s != "" {
		t.Errorf("two runs that were not disturbed: %q", s)
	}
	const want = "\nOther programs used up to 48 % of the cores meanwhile: these latencies say little.\nRun the demo on an idle machine.\n"
	if s := told(idle, busy); s != want {
		t.Errorf("the second disturbed: %q, want %q", s, want)
	}
	if s := told(busy, idle); s != want {
		t.Errorf("the first disturbed: %q, want %q", s, want)
	}
}
