//go:build linux

package client

import (
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/load"
)

// The process's result is one that passes the checks of a load by tlsdemo.
func TestGoroutines(t *testing.T) {
	_, target := answering(t)
	for flag, curve := range map[string]string{"X25519": "X25519", "default": "X25519MLKEM768"} {
		var r load.Result
		err := process.RunSelf(t.Context(), process.AnyCPU, &r, "goroutine-client", target.Addr, "--connections", "2", "--duration", "50ms", "--curve", flag)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Agreement).Check("x", Full("rsa2048"), "", &r, target.SHA256); err != nil || r.Handshakes < 2 || r.Total.Handshakes != r.Handshakes || r.Negotiated[0].Curve != curve {
			t.Errorf("%s: %+v, %v", flag, r, err)
		}
	}
	err := process.RunSelf(t.Context(), process.AnyCPU, new(load.Result), "goroutine-client", "127.0.0.1:1", "--connections", "2", "--duration", "1h")
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
}
