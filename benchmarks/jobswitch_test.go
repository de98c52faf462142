//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestJobSwitch(t *testing.T) {
	program := filepath.Join(t.TempDir(), "jobswitch")
	// As the program in the folder jobswitch prints it.
	script := `#!/bin/sh
test "$*" = "-json -rounds 2 -time 300ms" || { echo "called with $*" >&2; exit 1; }
cat <<end
{"openssl":"OpenSSL 3.0","skipped":"","ways":[
 {"operation":"resume+pause","with":"OpenSSL ASYNC_JOB","is_openssl":true,"ns":[80,84]},
 {"operation":"start+finish","with":"jobs","is_openssl":false,"ns":[75,75]},
 {"operation":"resume+pause","with":"jobs","is_openssl":false,"ns":[41,41]}]}
end
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	j := &jobSwitch{options: options{ServerCPU: -1}, Rounds: 2, Duration: 300 * time.Millisecond}
	res, err := j.run(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"[resume+pause, OpenSSL ASYNC_JOB 82.0 (80.0–84.0) 1.00]",
		"[resume+pause, jobs 41.0 (41.0–41.0) 0.50]",
		"[start+finish, jobs 75.0 (75.0–75.0) –]",
	} {
		if got := fmt.Sprint(switchTable(res).Rows[i]); got != want {
			t.Errorf("row %s, want %s", got, want)
		}
	}
	j.Rounds = 3
	if _, err := j.run(t.Context(), program); err == nil || !strings.Contains(err.Error(), "called with -json -rounds 3") {
		t.Errorf("error %v", err)
	}
}
