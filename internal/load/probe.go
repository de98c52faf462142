package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/jobloop/jobloop/loop"
)

// This file connects to each address of a target, and from each source, before a run.

// maxProbes is how many probes are made at a time.
const maxProbes = 16

// probe is one connection before a run.
type probe struct {
	target *target
	dialer *loop.Dialer
	err    error
}

// probe probes each address of the targets, and each source. Addresses that fail are
// left out, with a warning, if another address of the same target works. Otherwise the
// run does not begin.
func (r *run) probe(ctx context.Context) error {
	w := r.workers[0]
	first, unused := w.probes()
	if err := r.probeAll(ctx, first); err != nil {
		return err
	}
	if err := r.leaveOut(first); err != nil {
		return err
	}
	var second []*probe // from the sources that no probe has used
	for _, source := range unused {
		t, d := w.from(source)
		if t == nil {
			return fmt.Errorf("from %s: no target's address of its kind can be reached", source)
		}
		second = append(second, &probe{target: t, dialer: d})
	}
	if err := r.probeAll(ctx, second); err != nil {
		return err
	}
	r.account(w.rec)
	for _, p := range second {
		if p.err != nil {
			return p.failure()
		}
	}
	return nil
}

// probes returns a probe for each target, with the sources in turn, and the sources
// that are left.
func (w *worker) probes() (list []*probe, unused []netip.Addr) {
	unused = slices.Clone(w.run.cfg.Sources)
	for i, t := range w.targets {
		p := &probe{target: t}
		switch left := slices.IndexFunc(unused, t.reachableFrom); {
		case len(t.dialers) == 0:
			p.err = fmt.Errorf("no --source is an %s address", family(t.ip))
		case left >= 0:
			p.dialer = t.dialerFrom(unused[left])
			unused = slices.Delete(unused, left, left+1)
		default:
			p.dialer = t.dialers[i%len(t.dialers)]
		}
		list = append(list, p)
	}
	return list, unused
}

// from returns a target that a source can connect to, and its dialer.
func (w *worker) from(source netip.Addr) (*target, *loop.Dialer) {
	for _, t := range w.targets {
		if t.reachableFrom(source) {
			return t, t.dialerFrom(source)
		}
	}
	return nil, nil
}

func (t *target) dialerFrom(source netip.Addr) *loop.Dialer {
	i := slices.IndexFunc(t.dialers, func(d *loop.Dialer) bool {
		local, ok := d.LocalAddr.(*net.TCPAddr)
		return ok && local.AddrPort().Addr().Unmap() == source.Unmap()
	})
	return t.dialers[max(i, 0)]
}

// probeAll makes probes, several at a time, on the first loop.
func (r *run) probeAll(ctx context.Context, probes []*probe) error {
	w := r.workers[0]
	done := make(chan struct{}, maxProbes)
	next, begun := 0, 0
	for range min(len(probes), maxProbes) {
		err := w.loop.Go(func(jobCtx context.Context) error {
			for next < len(probes) {
				p := probes[next]
				next++
				if p.err == nil {
					p.err = w.probeOne(jobCtx, p)
				}
			}
			done <- struct{}{}
			return nil
		})
		if err != nil {
			return err
		}
		begun++
	}
	for range begun {
		select {
		case <-done:
		case <-r.ended: // Run returns the loops' error
			return errors.New("the loops have ended")
		case <-ctx.Done():
			return beforeItBegan(ctx, context.Cause(ctx))
		}
	}
	return nil
}

// beforeItBegan returns the error of a run that could not begin.
func beforeItBegan(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before it began: %w", context.Cause(ctx))
	}
	return err
}

func (w *worker) probeOne(ctx context.Context, p *probe) error {
	w.rec.total.Begun++
	w.rec.total.Probes++
	v := visit{probe: true, target: p.target, dialer: p.dialer}
	if err := w.visit(ctx, &v); err != nil {
		if !canceled(err) {
			w.rec.total.Errors++
		}
		return plain(err)
	}
	if w.run.cfg.Resume > 0 && p.target.session.state == nil {
		return errors.New("the server sends no session tickets, so there is nothing to resume")
	}
	return nil
}

// leaveOut removes the addresses whose probes failed from all workers. It returns an
// error if a target has no other address.
func (r *run) leaveOut(probes []*probe) error {
	works := make(map[string]bool) // by target
	for _, p := range probes {
		if p.err == nil {
			works[p.target.target] = true
		}
	}
	var kept []int
	for i, p := range probes {
		switch {
		case p.err == nil:
			kept = append(kept, i)
		case !works[p.target.target], p.sourceFailed():
			return p.failure()
		default:
			r.warnings = append(r.warnings, fmt.Sprintf("%s: its address %s is left out: %v.", p.target.target, p.target.address, p.err))
		}
	}
	for _, w := range r.workers {
		targets := make([]*target, 0, len(kept))
		for _, i := range kept {
			t := w.targets[i]
			t.index = len(targets)
			targets = append(targets, t)
		}
		w.targets = targets
	}
	return nil
}

// sourceFailed reports whether a probe's source, and not the target, is at fault.
func (p *probe) sourceFailed() bool {
	return p.dialer != nil && p.dialer.LocalAddr != nil && errors.Is(p.err, syscall.EADDRNOTAVAIL)
}

// failure returns the error that ends the run.
func (p *probe) failure() error {
	err := p.err
	if p.dialer != nil && p.dialer.LocalAddr != nil {
		err = fmt.Errorf("from %s: %w", p.dialer.LocalAddr.(*net.TCPAddr).IP, err)
	}
	name := p.target.target
	if a := p.target.String(); a != name {
		name += " (" + a + ")"
	}
	return fmt.Errorf("%s: %w", name, err)
}

// plain removes the addresses from an error. The message already has the target's.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
