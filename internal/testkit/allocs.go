package testkit

import "testing"

// AllocsPerRun is testing's, but for what else allocates meanwhile: the runtime
// does, and the goroutines of tests before, when the machine gives them time.
// They can only add. So the least of several measurements counts, and what f
// itself allocates is in each of them.
func AllocsPerRun(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
