package report

import (
	"strings"
	"testing"
)

func TestUnmetThresholdsAreShown(t *testing.T) {
	r := result(3000, 3000)
	r.Unmet = []string{"p99 latency was 61ms, above --max-p99 50ms"}
	if page := pageOf(t, Run{"a", r}); !strings.Contains(page, "<b>Not met:</b></p>\n<ul><li>p99 latency was 61ms, above --max-p99 50ms</li></ul>") {
		t.Error("the page does not show it")
	}
}
