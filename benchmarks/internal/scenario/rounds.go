//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// named is what is measured in rounds: servers, or clients.
type named interface{ Name() string }

// rounds calls measure once for each round and contender. Every other round goes
// through them backwards, so that none always comes after the same one. A contender
// that fails gets no more rounds, and the others go on; its error is returned at the
// end. If ctx ends, its error is returned too.
func rounds[C named](ctx context.Context, n int, contenders []C, measure func(C) error) error {
	failed := make([]error, len(contenders))
	for round := range n {
		for i := range contenders {
			if round%2 == 1 {
				i = len(contenders) - 1 - i
			}
			if failed[i] != nil {
				continue
			}
			err := measure(contenders[i])
			if ctx.Err() != nil { // which is why it failed, if it did
				return errors.Join(append(failed, context.Cause(ctx))...)
			}
			if err != nil {
				failed[i] = fmt.Errorf("%s, round %d: %w", contenders[i].Name(), round+1, err)
				process.Progress("%v", failed[i])
			}
		}
	}
	return errors.Join(failed...)
}

// collect is rounds, and keeps what was measured by name.
func collect[C named, R any](ctx context.Context, n int, contenders []C, measure func(C) (R, error)) (map[string][]R, error) {
	results := make(map[string][]R)
	return results, rounds(ctx, n, contenders, func(c C) error {
		res, err := measure(c)
		if err == nil {
			results[c.Name()] = append(results[c.Name()], res)
		}
		return err
	})
}

// servers is collect for servers, each of which is started for one round and
// stopped afterwards.
func servers[R any](ctx context.Context, r *run, n int, peers []peer.Peer, key string, o peer.Options, measure func(*peer.Server) (R, error)) (map[string][]R, error) {
	return collect(ctx, n, peers, func(p peer.Peer) (res R, _ error) {
		err := r.with(ctx, p, key, o, func(s *peer.Server) (err error) {
			res, err = measure(s)
			return err
		})
		return res, err
	})
}

// eachKey calls measure for each key that some of these servers can have, with
// those servers, until ctx is done. A key that no server can have is noted. If that
// is so of all keys, it is an error.
func (r *run) eachKey(ctx context.Context, keys, names []string, measure func(key string, peers []peer.Peer) error) error {
	var none, errs []error
	for _, key := range keys {
		peers, err := r.peers(names, key)
		if err != nil {
			none = append(none, err)
			continue
		}
		errs = append(errs, measure(key, peers))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return errors.Join(none...)
	}
	return errors.Join(errs...)
}

// namesOf returns their names.
func namesOf[C named](all []C) (names []string) {
	for _, c := range all {
		names = append(names, c.Name())
	}
	return names
}

// serverTable has a row for each server, and those that compare them. See
// addServers.
func serverTable[R any](name, heading string, names []string, results map[string][]R, columns []report.Column[R]) *report.Table {
	t := report.NewTable(name, columns, heading)
	addServers(t, "", names, results, columns)
	return t
}

// addServers adds a row for each server. Below them is one for each pair to
// compare, with the one's figures divided by the other's. The rows begin with
// prefix.
func addServers[R any](t *report.Table, prefix string, names []string, results map[string][]R, columns []report.Column[R]) {
	for _, name := range names {
		report.AddRow(t, results[name], columns, prefix+name)
	}
	for _, pair := range comparisons(names) {
		report.AddRatio(t, prefix+pair[0]+" / "+pair[1], results[pair[0]], results[pair[1]], columns)
	}
}

// comparisons returns which servers to compare: each of ours with every other
// project's, and with those of ours that come later in names.
func comparisons(names []string) (pairs [][2]string) {
	for i, name := range names {
		for j, other := range names {
			if peer.Ours(name) && (!peer.Ours(other) || j > i) {
				pairs = append(pairs, [2]string{name, other})
			}
		}
	}
	return pairs
}

// roundsText is a number of rounds in a note.
func roundsText(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}
