//go:build !unix

package machine

// Kernel returns an empty string: only Unix systems tell their kernel's release.
func Kernel() string { return "" }
