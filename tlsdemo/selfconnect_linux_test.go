package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Where nobody listens, the kernel may connect a client to itself. That is told as what it
// is: the server refuses connections. It is no handshake that fails.
func TestLoadOfNobody(t *testing.T) {
	cmd := program(t, "load", "127.0.0.1:40000", "--insecure")
	// With one port to choose from, every connection is one to itself.
	const inItsOwnNetwork = `ip link set lo up && echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range && echo ready >&2 && exec "$0" "$@"`
	shell := exec.Command("sh", append([]string{"-c", inItsOwnNetwork}, cmd.Args...)...)
	shell.Env = cmd.Env
	shell.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := shell.CombinedOutput()
	text, ready := strings.CutPrefix(string(out), "ready\n")
	if !ready {
		t.Skipf("no network of its own: %v, %s", err, out)
	}
	if shell.ProcessState.ExitCode() != 1 || text != "tlsdemo: 127.0.0.1:40000: connect: connection refused\n" {
		t.Errorf("status %d, %q", shell.ProcessState.ExitCode(), text)
	}
}
