//go:build race

package gnetjobs_test

// raceEnabled makes tests do less: the race detector costs ten times the CPU.
const raceEnabled = true
