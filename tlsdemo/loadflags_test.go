package main

import "testing"

func TestResumeShare(t *testing.T) {
	for text, want := range map[string]resumeShare{"none": 0, "tickets": 1, "80%": 0.8, "80": 0.8, "0%": 0, "100": 1, "12.5%": 0.125} {
		var got resumeShare
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, float64(got), err, float64(want))
		}
	}
	for _, text := range []string{"", "%", "-1%", "101", "NaN", "all"} {
		if err := new(resumeShare).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
