//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/internal/load"
)

// outputs are standard outputs that take nothing, with what is said of them.
func outputs(t *testing.T) map[string]*os.File {
	t.Helper()
	outs := map[string]*os.File{"broken pipe": unreadable(t)}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil { // Linux and the BSDs
		t.Cleanup(func() { full.Close() })
		outs["no space left on device"] = full
	}
	return outs
}

// runInto runs the program with a standard output.
func runInto(cmd *exec.Cmd, out *os.File) (status int, stderr string) {
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &errs
	cmd.Run()
	return cmd.ProcessState.ExitCode(), errs.String()
}

// What cannot be written to standard output is an error. Files are written before it is
// tried.
func TestOutputThatTakesNothing(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256")
	dir := t.TempDir()
	earlier := resultFile(t, filepath.Join(dir, "earlier.json"), 1000)
	files := []string{filepath.Join(dir, "run.json"), filepath.Join(dir, "run.html")}
	loads := []string{"load", s.addr, "--insecure", "--count", "20"}
	for says, out := range outputs(t) {
		for _, test := range []struct {
			args  []string
			files []string
		}{
			{args: []string{"--version"}},
			{args: []string{"--help"}},
			{args: []string{"load", "--help"}},
			{args: []string{"demo", "--handshakes", "4", "--clients", "1", "--key", "ecdsa-p256"}},
			{args: append(loads, "--json", files[0], "--report", files[1]), files: files},
			{args: append(loads, "--json", "-", "--report", files[1]), files: files[1:]},
			{args: append(loads, "--report", "-", "--json", files[0]), files: files[:1]},
			{args: []string{"report", earlier, "--output", files[1]}, files: files[1:]},
			{args: []string{"report", earlier, "--output", "-"}},
		} {
			for _, f := range files {
				os.Remove(f)
			}
			status, errs := runInto(program(t, test.args...), out)
			if status != 1 || strings.Count(errs, "write standard output: "+says+"\n") != 1 || strings.Count(errs, "\n") != 1+strings.Count(errs, "warning:") {
				t.Errorf("%v: status %d, stderr %q, want 1 and one line with %q", test.args, status, errs, says)
			}
			for _, f := range test.files {
				b, err := os.ReadFile(f)
				if err != nil || len(b) == 0 {
					t.Errorf("%v: %d bytes, %v", test.args, len(b), err)
				}
				if strings.HasSuffix(f, ".json") && json.Unmarshal(b, new(load.Result)) != nil {
					t.Errorf("%v: %s is not whole", test.args, f)
				}
			}
		}
	}
	s.stop()
}
