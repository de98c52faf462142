package main

import "time"

// The demo's server and clients share the machine's cores. If other programs use
// these too, threads wait for a core, and the latencies show that wait. This file
// decides whether that happened.

// coreUse says how the cores were used, up to a moment or between two.
type coreUse struct {
	cores  int           // that this process may run on; 0: nothing is known
	all    time.Duration // CPU time that all programs used on them
	own    time.Duration // CPU time that this process used
	waited time.Duration // time that its threads were ready to run and had no core
}

func (u coreUse) sub(before coreUse) coreUse {
	return coreUse{min(u.cores, before.cores), u.all - before.all, u.own - before.own, u.waited - before.waited}
}

const (
	// The kernel counts in ticks of 10 ms: over a second and two cores that is
	// wrong by a few percent. Shorter runs are not judged.
	shortestJudged = time.Second

	// leastOthers is the share of the cores' time that other programs must have
	// used. An idle machine has 0 to 2 %.
	leastOthers = 0.10

	// leastWaited is the share of their time with work that this process's
	// threads must have waited for a core. On a machine with cores to spare, other
	// programs do no harm, and this share is small. It is not enough by itself:
	// the demo alone on two idle cores waits 5 to 20 %, as its own threads get in
	// each other's way.
	leastWaited = 0.10
)

// crowded reports whether other programs kept this process from the cores, and
// which share of the cores' time they used.
func (u coreUse) crowded(elapsed time.Duration) (others float64, yes bool) {
	if u.cores == 0 || elapsed < shortestJudged || u.own <= 0 {
		return 0, false
	}
	others = (u.all - u.own).Seconds() / (elapsed.Seconds() * float64(u.cores))
	waited := u.waited.Seconds() / (u.waited + u.own).Seconds()
	return others, others >= leastOthers && waited >= leastWaited
}
