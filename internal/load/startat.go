package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// This file lets runs on several machines begin together.

// ErrTooLate is wrapped by Run's error if Config.StartAt has passed before the run could
// begin.
var ErrTooLate = errors.New("the time to start at has passed")

// waitForStart waits until Config.StartAt, and then begins the run's time.
func (r *run) waitForStart(ctx context.Context) error {
	if at := r.cfg.StartAt; !at.IsZero() {
		left := time.Until(at)
		if left < 0 {
			return fmt.Errorf("%w: the connections before the start were made %v after it", ErrTooLate, (-left).Round(time.Millisecond))
		}
		r.setPhase("waiting")
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.ended:
			return errors.New("the loops have ended")
		case <-ctx.Done():
			return fmt.Errorf("interrupted before it began: %w", context.Cause(ctx))
		}
	}
	r.begin = time.Now()
	r.series.restart(r.begin)
	return nil
}
