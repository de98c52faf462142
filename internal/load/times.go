package load

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Share is a share of the clients, 0 to 1.
type Share float64

// UnmarshalText parses a percentage, such as 80% or 80.
func (s *Share) UnmarshalText(text []byte) error {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(string(text), "%"), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("%q is not a percentage from 0%% to 100%%", text)
	}
	*s = Share(percent / 100)
	return nil
}

// String returns the form that UnmarshalText parses; "" for 0.
func (s Share) String() string {
	if s == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(s), 'g', 4, 64) + "%"
}

// has reports whether the next client is among the share.
func (s Share) has(random *rand.Rand) bool {
	return s == 1 || s > 0 && random.Float64() < float64(s)
}

func (s Share) valid() bool { return s >= 0 && s <= 1 }

// Times is how long clients do something. It is for a share of the clients, chosen at
// random. Each of them draws its time at random from Min to Max, evenly distributed. The
// same Config.Seed draws the same, in the same order. The zero value is for no client.
type Times struct {
	Share    Share
	Min, Max time.Duration
}

// UnmarshalText parses a time, such as 2s, or a range, such as 500ms-4s. Without a share
// before it, as in 30%:2s, it is for all clients.
func (t *Times) UnmarshalText(text []byte) error {
	all := Times{Share: 1}
	times := string(text)
	share, after, hasShare := strings.Cut(times, ":")
	if hasShare {
		if err := all.Share.UnmarshalText([]byte(share)); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		times = after
	}
	least, most, isRange := strings.Cut(times, "-")
	if !isRange {
		most = least
	}
	from, err := time.ParseDuration(least)
	to, toErr := time.ParseDuration(most)
	if err != nil || toErr != nil || from <= 0 || to < from {
		return fmt.Errorf("%q is neither a time, such as 2s, nor a range, such as 500ms-4s, nor one of these for a share of the clients, such as 30%%:2s", text)
	}
	all.Min, all.Max = from, to
	if all.Share == 0 {
		all = Times{}
	}
	*t = all
	return nil
}

// String returns the form that UnmarshalText parses; "" for the zero Times.
func (t Times) String() string {
	if t == (Times{}) {
		return ""
	}
	s := t.Min.String()
	if t.Min != t.Max {
		s += "-" + t.Max.String()
	}
	if t.Share != 1 {
		s = t.Share.String() + ":" + s
	}
	return s
}

// draw returns the time of the next client; 0 for one that is not among the share.
func (t Times) draw(random *rand.Rand) time.Duration {
	switch {
	case !t.Share.has(random):
		return 0
	case t.Min == t.Max:
		return t.Min
	}
	return t.Min + time.Duration(random.Int64N(int64(t.Max-t.Min)+1))
}

// check returns an error that says what makes no sense in the times of something.
func (t Times) check(of string) error {
	switch {
	case t == Times{}:
	case !t.Share.valid():
		return fmt.Errorf("%s of a share of %v", of, float64(t.Share))
	case t.Min <= 0:
		return fmt.Errorf("a %s of %v", of, t.Min)
	case t.Max < t.Min:
		return fmt.Errorf("a %s from %v to %v: the second is less than the first", of, t.Min, t.Max)
	}
	return nil
}

// newRandom returns a worker's random numbers. They are the same in every run with the seed.
func newRandom(seed uint64, index int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(index))) }
