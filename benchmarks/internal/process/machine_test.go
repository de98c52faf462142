//go:build linux

package process

import "testing"

func TestKernelVersion(t *testing.T) {
	for release, want := range map[string]string{
		"6.18.44": "6.18.44", "6.18.44-generic": "6.18.44", "6.18.44-generic #1": "6.18.44", "5.15.0.amd64": "5.15.0", "6.1.x": "6.1", "x": "", "": "",
	} {
		if got := kernelVersion(release); got != want {
			t.Errorf("%q is %q, want %q", release, got, want)
		}
	}
}
