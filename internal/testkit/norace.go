//go:build !race

package testkit

// RaceEnabled says that the race detector is on. It allocates for itself, costs
// ten times the CPU, and gives up above 8128 goroutines.
const RaceEnabled = false
