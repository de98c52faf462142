package loop_test

import (
	"errors"
	"testing"

	"github.com/jobloop/jobloop/loop"
)

func TestConfigInvalid(t *testing.T) {
	for _, cfg := range []loop.Config{
		{MaxJobs: -1},
		{InitialJobs: -1},
		{MaxJobs: 1, InitialJobs: 2},
		{InitialJobs: 10_001},
		{MaxQueued: -1},
		{AcceptsPerTurn: -1},
		{PollInterval: -1},
	} {
		if _, err := loop.New(cfg); !errors.Is(err, loop.ErrInvalidConfig) {
			t.Errorf("New(%+v): %v, want %v", cfg, err, loop.ErrInvalidConfig)
		}
	}
}
