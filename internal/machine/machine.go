// Package machine describes the machine on which figures were measured.
package machine

import (
	"os"
	"strings"
)

// CPU returns the processor's name, or an empty string where Linux does not report
// one (as on arm64) and on other systems.
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
