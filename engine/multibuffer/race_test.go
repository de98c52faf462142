//go:build race

package multibuffer

// The race detector allocates for itself.
const raceEnabled = true
