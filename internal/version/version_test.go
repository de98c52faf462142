package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	const revision = "0123456789abcdef0123456789abcdef01234567"
	build := func(version, revision, modified string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: version}}
		if revision != "" {
			b.Settings = []debug.BuildSetting{{Key: "-compiler", Value: "gc"}, {Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
		}
		return b
	}
	for name, c := range map[string]struct {
		build *debug.BuildInfo
		want  string
	}{
		"no information":            {nil, "(devel)"},
		"a test":                    {build("", "", ""), "(devel)"},
		"go run":                    {build("(devel)", "", ""), "(devel)"},
		"go install":                {build("v1.2.3", "", ""), "v1.2.3"},
		"a release built":           {build("v1.2.3", revision, "false"), "v1.2.3, commit 0123456789ab"},
		"not known to the module":   {build("(devel)", revision, "false"), "(devel), commit 0123456789ab"},
		"changed":                   {build("(devel)", revision, "true"), "(devel), commit 0123456789ab (dirty)"},
		"a pseudo-version":          {build("v0.0.0-20260301120000-0123456789ab", revision, "false"), "v0.0.0-20260301120000-0123456789ab"},
		"a pseudo-version, changed": {build("v0.0.0-20260301120000-0123456789ab+dirty", revision, "true"), "v0.0.0-20260301120000-0123456789ab+dirty"},
		"a short revision":          {build("(devel)", "0123", "false"), "(devel), commit 0123"},
	} {
		want := c.want + ", " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
		if got := of(c.build).String(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The running program, which is a test, knows its Go version at least.
func TestRunningProgram(t *testing.T) {
	if s := String(); s != Get().String() || !strings.HasSuffix(s, ", "+runtime.Version()+", "+runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("%q", s)
	}
}
