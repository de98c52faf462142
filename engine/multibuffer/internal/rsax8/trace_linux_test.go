//go:build linux && amd64 && !purego

package rsax8

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/maphash"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The instructions of Do must be the same ones in the same order whatever the
// keys and the messages are. The test runs itself again as a child, follows
// that instruction by instruction, and compares the addresses executed.

var followFlag = flag.String("follow", "", "run TestTraceIsTheSame, with exponents of `length` short (a minute or two) or full (much more)")

// traced is what a child does: runs times the same number of requests, with
// different keys and messages.
type traced struct {
	Bits, Requests, Runs int
	ExponentBits         int // shortened to these; 0: not
}

const childEnv = "RSAX8_TRACED" // a traced, for the child

func init() {
	if os.Getenv(childEnv) != "" {
		runtime.LockOSThread() // the main thread is the one that is traced
	}
}

func TestMain(m *testing.M) {
	if env := os.Getenv(childEnv); env != "" {
		var tr traced
		if err := json.Unmarshal([]byte(env), &tr); err != nil {
			panic(err)
		}
		tr.run()
		return
	}
	os.Exit(m.Run())
}

// run stops once, for its other threads to be frozen, and then before and after
// each run.
func (tr traced) run() {
	debug.SetGCPercent(-1)
	pid, tid := unix.Getpid(), unix.Gettid()
	stop := func() {
		if err := unix.Tgkill(pid, tid, unix.SIGSTOP); err != nil {
			panic(err)
		}
	}
	stop()
	u := NewUnit(tr.Bits)
	size := tr.Bits / 8
	for i := range tr.Runs {
		k, err := rsa.GenerateKey(rand.Reader, tr.Bits)
		if err != nil {
			panic(err)
		}
		key, err := NewKey(k)
		if err != nil {
			panic(err)
		}
		if tr.ExponentBits != 0 {
			// The same loops, but nothing verifies, for any of the keys.
			key.primeBits = tr.ExponentBits
			key.e = 3
		}
		var reqs []*Request
		for j := range tr.Requests {
			in, err := rand.Int(rand.Reader, k.N)
			if err != nil {
				panic(err)
			}
			switch { // and what is as different as can be
			case i == 1: // but not 0 and 1, whose powers verify whatever the exponent
				in.SetInt64(int64(j + 2))
			case i == 2:
				in.Sub(k.N, big.NewInt(int64(j+2)))
			}
			reqs = append(reqs, &Request{Key: key, In: in.FillBytes(make([]byte, size)), Out: make([]byte, size)})
		}
		x := slices.Clone(key.qInv)
		if i == 0 {
			u.Do(reqs) // grows the stack
		}
		stop()
		doubleMod(x, key.p.m) // what NewKey does all the time
		u.Do(reqs)
		stop()
	}
}

func TestTraceIsTheSame(t *testing.T) {
	needKernel(t)
	exponentBits := 8 // two windows
	switch *followFlag {
	case "":
		t.Skip("takes long: go test -run TestTraceIsTheSame -follow short")
	case "full":
		exponentBits = 0
	}
	for _, tr := range []traced{
		{2048, 1, 2, exponentBits}, // wide
		{2048, 2, 2, exponentBits}, // two at once
		{2048, 3, 3, exponentBits}, // one block, one pass
		{3072, 5, 2, exponentBits}, // two blocks, two passes
	} {
		t.Run(fmt.Sprintf("%d bits, %d requests", tr.Bits, tr.Requests), func(t *testing.T) {
			for try := 1; !testTrace(t, tr); try++ {
				if try == 3 {
					t.Fatal("the child hangs each time")
				}
				t.Log("the child hangs: once more")
			}
		})
	}
}

// testTrace returns false if the child hangs: when the runtime's monitor has
// asked the traced thread to yield before it was frozen itself, there is no
// thread left to yield to.
func testTrace(t *testing.T, what traced) (done bool) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+string(env), "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: cannot trace here: %v", err)
	}
	pid := cmd.Process.Pid
	tr := &tracer{t: t, pid: pid, seed: maphash.MakeSeed()}
	defer func() {
		cmd.Process.Kill()
		for _, tid := range append(tr.frozen, pid) { // the process ends with the last that is waited for
			unix.Wait4(tid, nil, unix.WALL, nil)
		}
	}()
	tr.wait() // for its exec
	tr.toStop()
	tr.freezeOthers()

	var steps int
	var hash uint64
	for i := range what.Runs {
		tr.toStop()
		n, h := tr.follow()
		if tr.hangs {
			return false
		}
		t.Logf("run %d: %d instructions", i, n)
		if n < 10_000 {
			t.Fatalf("run %d: only %d instructions followed", i, n)
		}
		if i == 0 {
			steps, hash = n, h
		} else if n != steps || h != hash {
			t.Errorf("run %d executes other instructions than run 0: %d, not %d", i, n, steps)
		}
	}
	return true
}

type tracer struct {
	t     *testing.T
	pid   int
	seed  maphash.Seed
	hangs bool // the child has not stopped for a long time

	frozen []int // its other threads
}

// patience is how long the child may take from one stop to the next: to make a
// key, at most.
const patience = time.Minute

// wait waits for the traced thread to stop, and returns the signal; SIGSTOP if
// it hangs.
func (tr *tracer) wait() unix.Signal {
	var ws unix.WaitStatus
	var deadline time.Time
	for n := 0; !tr.hangs; n++ {
		pid, err := unix.Wait4(tr.pid, &ws, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid != 0 && !ws.Stopped():
			tr.t.Fatalf("the child is gone: %v, status %#x", err, ws)
		case pid != 0:
			return ws.StopSignal()
		case n == 1000: // a step takes less
			deadline = time.Now().Add(patience)
		case n > 1000:
			time.Sleep(100 * time.Microsecond)
			tr.hangs = time.Now().After(deadline)
		}
	}
	return unix.SIGSTOP
}

// toStop lets the child run until it stops itself.
func (tr *tracer) toStop() {
	sig := unix.Signal(0)
	for sig != unix.SIGSTOP {
		if err := unix.PtraceCont(tr.pid, 0); err != nil {
			tr.t.Fatal(err)
		}
		sig = tr.wait()
	}
}

// freezeOthers stops the child's other threads, for good: the runtime's monitor
// would make the traced one yield.
func (tr *tracer) freezeOthers() {
	dirs, err := filepath.Glob("/proc/" + strconv.Itoa(tr.pid) + "/task/*")
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, d := range dirs {
		tid, err := strconv.Atoi(filepath.Base(d))
		if err != nil || tid == tr.pid {
			continue
		}
		if err := unix.PtraceAttach(tid); err == unix.EPERM {
			tr.t.Skip("SKIPPED: ptrace is not allowed here")
		} else if err != nil {
			tr.t.Fatal(err)
		}
		if _, err := unix.Wait4(tid, nil, unix.WALL, nil); err != nil {
			tr.t.Fatal(err)
		}
		tr.frozen = append(tr.frozen, tid)
	}
}

// follow steps to the next stop, and returns the number of instructions and a
// hash of their addresses.
func (tr *tracer) follow() (int, uint64) {
	var h maphash.Hash
	h.SetSeed(tr.seed)
	var regs unix.PtraceRegs
	var pc [8]byte
	for n := 0; ; n++ {
		if err := unix.PtraceSingleStep(tr.pid); err != nil {
			tr.t.Fatal(err)
		}
		switch tr.wait() {
		case unix.SIGSTOP:
			return n, h.Sum64()
		case unix.SIGTRAP:
		default: // a signal, which is not delivered
			continue
		}
		if err := unix.PtraceGetRegs(tr.pid, &regs); err != nil {
			tr.t.Fatal(err)
		}
		binary.LittleEndian.PutUint64(pc[:], regs.Rip)
		h.Write(pc[:])
	}
}
