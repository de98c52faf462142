package main

import (
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// What has no samples is not printed, and what is printed does not contradict the exit
// status.
func TestNothingMeasured(t *testing.T) {
	open := new(load.Percentiles)
	flags := load.Settings{Flags: map[string]string{"rate": "3000"}}
	for name, test := range map[string]struct {
		res     load.Result
		prints  []string
		without []string // beside these
		fails   string
	}{
		"the warm-up was too much": {
			load.Result{Errors: 9, ErrorsByKind: map[string]int64{"not begun": 9}, HandshakesPer: 713, Duration: 1, StartDelay: open, MaxInFlight: 5,
				Client: load.Client{CPUPerHandshake: 250, Busy: 0.5, Loops: 1}, Settings: flags},
			[]string{"713.0/s, of 3000/s asked for, all due before the measured part, for 1 s", "9: 9 not begun", "250 µs CPU each, 50 % of 1 thread"},
			[]string{"bytes", "latency"},
			"9 of 9 handshakes failed (9 not begun), above --max-errors 0",
		},
		"nothing was due": {
			load.Result{Duration: 1, StartDelay: open, Client: load.Client{Loops: 1}, Settings: load.Settings{Flags: map[string]string{"rate": "0.1"}}},
			[]string{"0/s, of 0.1/s asked for, for 1 s"},
			[]string{"bytes", "CPU each", "latency"},
			"at 0.1/s none was due in 1 s; raise --rate or --duration",
		},
		"all fail that began in the warm-up": {
			load.Result{Duration: 1, MaxInFlight: 4, Client: load.Client{Loops: 1}, Total: load.Total{Begun: 5, Handshakes: 1, Errors: 4}},
			[]string{"errors      0"},
			[]string{"bytes", "CPU each", "latency"},
			"none began in the measured part, and 4 before it failed; raise --duration",
		},
		"stopped in the warm-up": {
			load.Result{Stopped: load.Interrupted, Client: load.Client{Loops: 1}},
			[]string{"early: interrupted\n"},
			[]string{"rate", "in flight", "bytes", "CPU each", "thread", "cut off", "latency"},
			"stopped before its measured part began (interrupted)",
		},
		"stopped with connections in progress": {
			load.Result{Stopped: load.Interrupted, Duration: 2, MaxInFlight: 3, Client: load.Client{Loops: 1}, Total: load.Total{Canceled: 3, OldestCanceled: 1500}},
			[]string{"early: interrupted; 3 cut off, the oldest after 1.50 ms", "3 at most"},
			[]string{"bytes", "CPU each", "latency"},
			"none had ended when the run was stopped (interrupted)",
		},
		"a sweep stopped in its first step": {
			load.Result{Stopped: load.Interrupted, Duration: 2, Handshakes: 5, HandshakesPer: 2.5, Sweep: &load.Sweep{}, Client: load.Client{Loops: 1}},
			[]string{"knee: not known: no step was finished", "2.50/s, for 2 s"},
			[]string{"below the first rate", "kept up", "asked for"},
			"the sweep was stopped in its first step (interrupted)",
		},
		"a sweep in which all fails": {
			load.Result{Errors: 5, ErrorsByKind: map[string]int64{"reset": 5}, Duration: 5, Client: load.Client{Loops: 1},
				Sweep: &load.Sweep{Steps: []load.Step{{Rate: 1, Errors: 5, Why: "100.0 % failed (reset)"}}, Limit: "100.0 % failed (reset)"}},
			[]string{"1.00/s  0/s   -    -    5", "knee: below the first rate: 100.0 % failed (reset)"},
			nil,
			"did not keep up with the first rate: 100.0 % failed (reset)",
		},
	} {
		var b strings.Builder
		writeLoadSummary(&b, &test.res)
		for _, want := range test.prints {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, b.String())
			}
		}
		for _, bad := range append(test.without, " 0 µs") {
			if strings.Contains(b.String(), bad) {
				t.Errorf("%s: %q in\n%s", name, bad, b.String())
			}
		}
		c := new(loadCmd)
		test.res.Unmet = c.unmet(&test.res)
		if err := c.failure(&test.res); err == nil || !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %v, want %q", name, err, test.fails)
		}
	}
	all := &load.Result{Errors: 3, Duration: 1, ErrorsByKind: map[string]int64{"reset": 3}}
	if err := new(loadCmd).failure(all); err == nil || !strings.Contains(err.Error(), "no handshake succeeded, and 3 failed: 3 reset") {
		t.Errorf("all failed, as many as may: %v", err)
	}
	two := &load.Result{Handshakes: 2, Stopped: load.Interrupted, Sweep: &load.Sweep{Steps: []load.Step{{Rate: 1, KeptUp: true}}, Knee: 1}}
	if err := new(loadCmd).failure(two); err != nil {
		t.Errorf("a sweep stopped in its second step: %v", err)
	}
}

func TestMicros(t *testing.T) {
	for us, want := range map[int64]string{0: "0 µs", 999: "999 µs", 1000: "1.00 ms", 99_950: "100 ms", 999_499: "999 ms", 999_500: "1.00 s", 61_000_000: "61.0 s"} {
		if got := micros(us); got != want {
			t.Errorf("%d µs: %q, want %q", us, got, want)
		}
	}
}
