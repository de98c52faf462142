// Package version says which build of a program is running, for --version and for
// what the program leaves behind: results, reports, metrics.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Info is what is known of the running program's build.
type Info struct {
	Version  string // of the main module: "v1.2.3", "(devel)" if it has none
	Revision string // of its repository, 12 digits; "" if it is not known
	Modified bool   // the build has changes that are not in Revision
	Go       string // "go1.26.0"
	OS, Arch string // that it was built for
}

// Get returns the running program's. Programs that "go run" or "go test" starts do
// not know their revision.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return of(build)
}

// String returns the running program's build in one line.
func String() string { return Get().String() }

// digits is how many of a revision are shown, as many as in a pseudo-version.
const digits = 12

func of(build *debug.BuildInfo) Info {
	i := Info{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if build == nil {
		return i
	}
	if v := build.Main.Version; v != "" {
		i.Version = v
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Revision = s.Value[:min(digits, len(s.Value))]
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}

// Commit is the revision, marked as dirty if the build has other changes; "" if
// it is not known.
func (i Info) Commit() string {
	if i.Revision != "" && i.Modified {
		return i.Revision + " (dirty)"
	}
	return i.Revision
}

// String is such as "v1.2.3, commit 0123456789ab (dirty), go1.26.0, linux/amd64".
// What is not known is left out, and so is a commit that the version names: that
// of a pseudo-version.
func (i Info) String() string {
	parts := []string{i.Version}
	if commit := i.Commit(); commit != "" && !strings.Contains(i.Version, i.Revision) {
		parts = append(parts, "commit "+commit)
	}
	return strings.Join(append(parts, i.Go, i.OS+"/"+i.Arch), ", ")
}
