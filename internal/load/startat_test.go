package load

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
)

func TestStartAt(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		var mu sync.Mutex
		var answered []time.Time
		s := serveTLS(t, nil, func(s *server, c *tls.Conn) {
			mu.Lock()
			answered = append(answered, time.Now())
			mu.Unlock()
			s.answer(c)
		})
		cfg := closedConfig(s)
		cfg.Rate = rate
		cfg.StartAt = time.Now().Add(3 * time.Second).Round(0) // as parsed: without a monotonic reading
		res := mustRun(t, t.Context(), cfg)
		if res.Started.Before(cfg.StartAt) {
			t.Errorf("started at %v, want %v or later", res.Started, cfg.StartAt)
		}
		early := slices.IndexFunc(answered, func(at time.Time) bool { return !at.Round(0).Before(cfg.StartAt) })
		want(t, "connections before the start", int64(early), res.Total.Probes)
		for _, p := range res.Series {
			if p.At < -1 {
				t.Errorf("the series begins %v s before the measured part: it has the wait", -p.At)
			}
		}
	}
}

func TestStartAtHasPassed(t *testing.T) {
	s := serveTLS(t, nil, (*server).answer)
	cfg := closedConfig(s)
	cfg.StartAt = time.Now().Add(-time.Second)
	if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrTooLate) {
		t.Errorf("%v, want %v", err, ErrTooLate)
	}
}

func TestInterruptedWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := serveTLS(t, nil, (*server).answer)
	cfg := closedConfig(s)
	cfg.StartAt = time.Now().Add(time.Hour)
	cfg.Progress = func(p Progress) {
		if p.Phase == "waiting" {
			cancel()
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, cfg)
		ended <- err
	}()
	if err := testkit.Receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
