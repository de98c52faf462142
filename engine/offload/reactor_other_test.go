//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package offload_test

import "testing"

func newPollReactor(t testing.TB) reactor {
	t.Skip("no poll(2) here")
	return nil
}
