// Package machine says what figures were measured on.
package machine

import (
	"os"
	"strings"
)

// CPU returns the processor's name where Linux tells it; else, as on arm64, it
// is empty.
func CPU() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	return model(string(info))
}

func model(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
