//go:build race

package jobs_test

// The race detector allocates for itself, and gives up above 8128 goroutines.
const raceEnabled = true
