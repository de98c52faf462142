package load

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/jobloop/jobloop/internal/machine"
	"github.com/jobloop/jobloop/internal/version"
)

// environment describes this program and the machine it runs on. What cannot be
// found out stays empty.
func environment() Environment {
	e := Environment{OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), CPU: machine.CPU(), Kernel: machine.Kernel(), Cores: runtime.NumCPU(), Version: version.String()}
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
