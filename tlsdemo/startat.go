package main

import (
	"fmt"
	"strings"
	"time"
)

// startTime is when a run begins. The zero startTime means at once.
type startTime struct{ time.Time }

// UnmarshalText parses a time of RFC 3339, or a time from now.
func (s *startTime) UnmarshalText(text []byte) error {
	after, isAfter := strings.CutPrefix(string(text), "+")
	if isAfter {
		d, err := time.ParseDuration(after)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a time from now, such as +30s", text)
		}
		s.Time = time.Now().Add(d)
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a time such as 2026-01-31T15:04:05Z nor a time from now such as +30s", text)
	}
	if at.IsZero() { // which would mean at once
		return fmt.Errorf("%s has passed", text)
	}
	s.Time = at
	return nil
}

func (s startTime) String() string {
	if s.IsZero() {
		return ""
	}
	return s.UTC().Format(time.RFC3339)
}
