package loop

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// Shutdown waits for loops that are about to run, so that Run does not fail because of
// the order in which its goroutines begin.
func TestGroupShutDownWhileItStarts(t *testing.T) {
	testkit.CheckLeaks(t)
	g, err := NewGroup(2, Config{Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	g.ran.Store(true) // as Run does before its loops run
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(context.Background()) }()
	ran := make(chan error, 2)
	for _, l := range g.loops {
		if l.ShuttingDown() {
			t.Error("a loop that does not run yet is shut down")
		}
		go func() { ran <- l.Run(context.Background()) }()
	}
	for _, done := range []<-chan error{down, ran, ran} {
		if err := testkit.Receive(t, done); err != nil {
			t.Error(err)
		}
	}
}
