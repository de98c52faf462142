//go:build race

package loop_test

// The race detector gives up above 8128 goroutines.
const raceEnabled = true
