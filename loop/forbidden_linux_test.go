package loop_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A process that may accept nothing, by the will of a seccomp filter, does not spin.
// There is no way back from the filter, so the test needs a process of its own.
func TestAcceptForbidden(t *testing.T) {
	const env = "LOOP_TEST_ACCEPT_FORBIDDEN"
	if os.Getenv(env) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAcceptForbidden$", "-test.timeout=60s", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var out testkit.Log
	l := looptest.New(t, loop.Config{Logger: out.Logger()})
	addr := looptest.Listen(t, l, echo)
	served := testkit.Dial(t, addr)
	send(t, served, "x")
	testkit.WantRead(t, served, "x")

	forbid(t, unix.SYS_ACCEPT4)
	testkit.Dial(t, addr)
	testkit.Eventually(t, "accepting rests", func() bool { return looptest.Settle(t, l).AcceptsPaused > 1 })
	wantFewTurns(t, l)
	send(t, served, "still served")
	testkit.WantRead(t, served, "still served")
	wantOneLine(t, l, &out, "level=WARN", addr.String(), "accept")
}

// forbid makes a system call return EPERM in this process from now on.
func forbid(t *testing.T, call uint32) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Skip(err)
	}
	if r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog))); errno != 0 || r != 0 {
		t.Skipf("seccomp: %d, %v", r, errno)
	}
}
