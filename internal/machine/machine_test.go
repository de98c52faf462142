package machine

import "testing"

func TestModel(t *testing.T) {
	if got := model("processor\t: 0\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n"); got != "AMD EPYC" {
		t.Errorf("%q", got)
	}
	if got := model("processor\t: 0\n"); got != "" {
		t.Errorf("%q", got)
	}
}
