package load

import (
	"slices"
	"testing"
	"time"
)

// This file tests shares of clients, and how long they do something.

// everyone is Times for all clients.
func everyone(from, to time.Duration) Times { return Times{1, from, to} }

func TestTimesAreDrawnFromTheirRange(t *testing.T) {
	const n = 10_000
	p := everyone(500*time.Millisecond, 4*time.Second)
	draws := func(index int) []time.Duration {
		random := newRandom(1, index)
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = p.draw(random)
		}
		return all
	}
	all := draws(0)
	if !slices.Equal(all, draws(0)) {
		t.Error("the same loop's clients draw other times in another run")
	}
	if slices.Equal(all, draws(1)) {
		t.Error("two loops' clients draw the same times")
	}
	var quarters [4]int
	for _, d := range all {
		if d < p.Min || d > p.Max {
			t.Fatalf("%v is not from %v to %v", d, p.Min, p.Max)
		}
		quarters[min(int(4*(d-p.Min)/(p.Max-p.Min)), 3)]++
	}
	for i, got := range quarters { // the same in every run, so the test does not depend on chance
		if got < n/4-n/50 || got > n/4+n/50 {
			t.Errorf("%d of %d are in quarter %d of the range", got, n, i+1)
		}
	}
	one := everyone(time.Second, time.Second)
	want(t, "a time without a range", one.draw(newRandom(1, 0)), time.Second)
}

func TestTimesAsText(t *testing.T) {
	for text, want := range map[string]Times{
		"2s":          everyone(2*time.Second, 2*time.Second),
		"500ms-4s":    everyone(500*time.Millisecond, 4*time.Second),
		"1s-1s":       everyone(time.Second, time.Second),
		"30%:2s":      {0.3, 2 * time.Second, 2 * time.Second},
		"12.5%:1s-2s": {0.125, time.Second, 2 * time.Second},
		"100:1s":      everyone(time.Second, time.Second),
		"0%:1s":       {},
	} {
		var got, again Times
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		if err := again.UnmarshalText([]byte(got.String())); got != (Times{}) && (err != nil || again != want) {
			t.Errorf("%s is printed as %s: %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "2", "1s-", "-1s", "1s--2s", "0s", "0s-1s", "2s-1s", "1s-2s-3s", "soon", ":1s", "30%", "30%:", "101%:1s", "-1%:1s", "NaN:1s", "1s:30%"} {
		if err := new(Times).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if s := (Times{}).String(); s != "" { // otherwise it would be among the settings
		t.Errorf("none is printed as %q", s)
	}
}

// A share is chosen at random, and the same in every run.
func TestShareOfClients(t *testing.T) {
	const n = 10_000
	for _, share := range []Share{0, 0.1, 0.5, 1} {
		times := Times{share, 1, 1}
		random, again := newRandom(1, 0), newRandom(1, 0)
		got := 0
		for range n {
			d := times.draw(random)
			got += int(d)
			want(t, "the same client in another run", times.draw(again), d)
		}
		if expected := int(n * share); got < expected-n/50 || got > expected+n/50 || share == 0 && got > 0 || share == 1 && got < n {
			t.Errorf("%d of %d clients, want a share of %v", got, n, float64(share))
		}
	}
}
