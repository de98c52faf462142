package main

import (
	"strings"
	"testing"
	"time"
)

func TestStartTime(t *testing.T) {
	var s startTime
	if err := s.UnmarshalText([]byte("2026-01-31T16:04:05+01:00")); err != nil || s.String() != "2026-01-31T15:04:05Z" {
		t.Errorf("%v, %v", s, err)
	}
	before := time.Now()
	if err := s.UnmarshalText([]byte("+90m")); err != nil || s.Before(before.Add(90*time.Minute)) || s.After(time.Now().Add(90*time.Minute)) {
		t.Errorf("%v, %v", s, err)
	}
	for _, text := range []string{"", "+", "+0s", "+-1s", "30s", "tomorrow", "15:04", "2026-01-31"} {
		if err := new(startTime).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestLoadStartAt(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	begin := time.Now()
	status, res, _, errs := loaded(t, s.addr, "--insecure", "--count", "10", "--start-at", "+3s")
	if status != 0 || res == nil || res.Started.Before(begin.Add(3*time.Second)) || !strings.Contains(errs, "the run begins at ") {
		t.Errorf("status %d, result %+v, stderr %s", status, res, errs)
	}
}
