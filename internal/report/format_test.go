package report

import (
	"math"
	"testing"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{measured(0), "0"}, {measured(12345.6), "12,300"}, {measured(999.6), "1,000"}, {measured(99.96), "100"}, {measured(9.996), "10.0"},
		{measured(0.01234), "0.0123"}, {measured(-5), "−5.00"}, {measured(math.NaN()), none}, {measured(math.Inf(1)), none}, {measured(1e300), "1.00e+300"},
		{count(1234567), "1,234,567"}, {count(-1234), "−1,234"}, {count(math.MinInt64), "−9,223,372,036,854,775,808"}, {count(999), "999"},
		{micros(7).String(), "7\u00a0µs"}, {micros(312).String(), "312\u00a0µs"}, {micros(35.27).String(), "35.3\u00a0µs"}, {micros(999.7).String(), "1.00\u00a0ms"},
		{micros(1234).String(), "1.23\u00a0ms"}, {micros(999_600).String(), "1.00\u00a0s"}, {micros(12.34e6).String(), "12.3\u00a0s"}, {micros(math.NaN()).String(), none},
		{axisMicros(20), "20\u00a0µs"}, {axisMicros(5000), "5\u00a0ms"}, {axisMicros(1e6), "1\u00a0s"},
		{size(512), "512\u00a0B"}, {size(999), "999\u00a0B"}, {size(2048), "2.05\u00a0kB"}, {size(23 << 20), "24.1\u00a0MB"}, {size(999_600), "1.00\u00a0MB"}, {size(5e15), "5,000\u00a0TB"},
		{percent(1, 4), "25.0\u00a0%"}, {percent(0, 4), "0\u00a0%"}, {percent(1, 0), none}, {percent(99999, 100000), ">\u200a99.9\u00a0%"}, {percent(4, 4), "100\u00a0%"},
		{seconds(-3.01611), "−3.02"}, {seconds(12.5), "12.5"}, {seconds(3), "3"}, {seconds(-0.001), "0"}, {seconds(120), "120"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
