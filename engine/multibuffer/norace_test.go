//go:build !race

package multibuffer

const raceEnabled = false
