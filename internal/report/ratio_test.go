package report

import (
	"math"
	"strings"
	"testing"
)

func TestRatiosInWords(t *testing.T) {
	for _, c := range []struct {
		q    float64
		want string
	}{
		{0.00359, "279 times lower"}, {279, "279 times higher"}, {1.0 / 12345, "12,300 times lower"}, {2.5, "2.5 times higher"}, {0.4, "2.5 times lower"},
		{1.994, "99 % higher"}, {1.995, "2 times higher"}, {0.5, "2 times lower"}, {0.51, "49 % lower"},
		{1.048, "4.8 % higher"}, {0.952, "4.8 % lower"}, {1.05, "5 % higher"}, {1.0996, "10 % higher"}, {1.125, "12 % higher"},
		{1, "the same"}, {1.0004, "the same"}, {0.9996, "the same"}, {1.0006, "0.1 % higher"},
		{0, ""}, {-1, ""}, {math.NaN(), ""}, {math.Inf(1), ""}, {5e-324, ""},
	} {
		if got := strings.ReplaceAll(ratioWords(c.q), "\u00a0", " "); got != c.want {
			t.Errorf("%g: %q, want %q", c.q, got, c.want)
		}
	}
}
