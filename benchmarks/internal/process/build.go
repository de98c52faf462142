//go:build linux

package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// BuildTlsdemo builds this checkout's tlsdemo in dir, if it is not there yet, and
// returns the program. It is built in its own module, and so is what "go build"
// there makes.
func BuildTlsdemo(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "tlsdemo")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	Progress("building tlsdemo")
	list := Command(ctx, "find tlsdemo (run this inside the module)", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/jobloop/jobloop")
	e, err := list.Run(AnyCPU)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./tlsdemo")
	cmd.Dir = strings.TrimSpace(string(e.Out))
	// Nothing may be left of a build that is interrupted: its files are in dir, and
	// its compilers and linker end with it.
	cmd.Env = append(os.Environ(), "GOTMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tlsdemo: %w\n%s", err, out)
	}
	return program, nil
}
