package load

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// probe connects to each target, and from each source, before a run. If that fails,
// the run does not begin. Names are looked up here and not again.
func (r *run) probe(ctx context.Context) error {
	w := r.workers[0]
	result := make(chan error, 1)
	err := w.loop.Go(func(jobCtx context.Context) error {
		result <- w.probeAll(jobCtx)
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err = <-result:
	case <-r.ended: // Run returns the loops' error
		return errors.New("the loops have ended")
	case <-ctx.Done():
		return fmt.Errorf("interrupted before it began: %w", context.Cause(ctx))
	}
	r.account(w.rec)
	for _, other := range r.workers[1:] {
		for i, t := range w.targets {
			other.targets[i].address = t.address
		}
	}
	return err
}

func (w *worker) probeAll(ctx context.Context) error {
	targets, dialers := w.targets, w.dialers
	defer func() { w.targets, w.dialers, w.visits, w.resumeShare = targets, dialers, 0, 0 }()
	for i := range max(len(targets), len(dialers)) {
		t, d := i%len(targets), i%len(dialers)
		w.targets, w.dialers = targets[t:t+1], dialers[d:d+1]
		if err := w.probeOne(ctx, targets[t]); err != nil {
			if from := dialers[d].LocalAddr; from != nil {
				err = fmt.Errorf("from %s: %w", from.(*net.TCPAddr).IP, err)
			}
			return fmt.Errorf("%s: %w", w.run.cfg.Targets[t], err)
		}
	}
	return nil
}

func (w *worker) probeOne(ctx context.Context, t *target) error {
	if w.run.cfg.Resume > 0 {
		w.resumeShare = 1 - w.run.cfg.Resume // so that this one resumes
	}
	w.rec.total.Begun++
	w.rec.total.Probes++
	v := visit{probe: true}
	if err := w.visit(ctx, &v); err != nil {
		return plain(err)
	}
	if w.run.cfg.Resume > 0 && t.session.state == nil {
		return errors.New("the server sends no session tickets, so there is nothing to resume")
	}
	t.address = v.remote
	return nil
}

// plain removes the addresses from an error. The message already has the target's.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
