//go:build !race

package gnetjobs_test

const raceEnabled = false
