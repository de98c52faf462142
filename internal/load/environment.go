package load

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// environment says where this process runs. What cannot be found out stays
// empty.
func environment() Environment {
	e := Environment{OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), CPU: cpuName(), Cores: runtime.NumCPU()}
	e.Host, _ = os.Hostname()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				e.Commit = s.Value + e.Commit
			case s.Key == "vcs.modified" && s.Value == "true":
				e.Commit += "+changes"
			}
		}
	}
	return e
}

// cpuName is the processor's name where Linux tells it.
func cpuName() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
