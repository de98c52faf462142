//go:build linux

package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/internal/load"
)

// This file has the notes that warn of misleading figures in several scenarios. They
// begin with where that is: with a server's name, for example.

// others returns a warning if others used the server's core. busy is how much of it
// they used in each round, in percent.
func others(busy ...float64) string {
	most := slices.Max(append(busy, 0))
	if most <= 5 {
		return ""
	}
	return fmt.Sprintf("others (processes, interrupts, the hypervisor) took up to %.0f %% of the server's core in a round. The figures contain that.", most)
}

// noteOthers notes what others says.
func (r *run) noteOthers(where string, busy ...float64) {
	if text := others(busy...); text != "" {
		r.Note(where + ": " + text)
	}
}

// noteProbes says when the system did not let probes go before the other clients.
func (r *run) noteProbes(where string, probes ...*client.ProbeResult) {
	if slices.ContainsFunc(probes, func(p *client.ProbeResult) bool { return p != nil && !p.Realtime }) {
		r.Notef("%s: the system did not let the probe go before the other clients (SCHED_FIFO). It waited for them at times.", where)
	}
}

// noteLimit says in how many rounds the client was the limit, and not the server.
func (r *run) noteLimit(where string, limited, rounds int) {
	if limited > 0 {
		r.Notef("%s: in %d of %d rounds the client was the limit. Rates and latencies are the client's. CPU time is the server's all the same.", where, limited, rounds)
	}
}

// kinds lists errors by kind, each with an example.
func kinds(n map[string]int64, examples map[string]string) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		s := fmt.Sprintf("%d %s", n[kind], kind)
		if e := examples[kind]; e != "" {
			s += fmt.Sprintf(" (%s)", e)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// failures describes the handshakes of a load that failed.
func failures(r *load.Result) string {
	text := fmt.Sprintf("%d handshakes failed, %d succeeded", r.Errors, r.Handshakes)
	if why := kinds(r.ErrorsByKind, r.ErrorExamples); why != "" {
		text += ": " + why
	}
	return text
}

// failed returns an error if a handshake of a load failed, or none was made.
func failed(where string, round int, r *load.Result) error {
	if r.Errors == 0 && r.Handshakes > 0 {
		return nil
	}
	return fmt.Errorf("%s, round %d: %s", where, round+1, failures(r))
}
