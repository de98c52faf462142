//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package offload

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const haveWakeFD = true

// wakeFD is a descriptor that becomes readable: a pipe.
type wakeFD struct{ r, w int }

func newWakeFD() (wakeFD, error) {
	var p [2]int
	syscall.ForkLock.RLock() // Darwin has no pipe2
	err := unix.Pipe(p[:])
	if err == nil {
		unix.CloseOnExec(p[0])
		unix.CloseOnExec(p[1])
	}
	syscall.ForkLock.RUnlock()
	return wakeFD{p[0], p[1]}, os.NewSyscallError("pipe", err)
}

func (f wakeFD) readable() int { return f.r }

// write makes the descriptor readable. It cannot fail or block, because the pipe is
// empty and its reading end open.
func (f wakeFD) write() { unix.Write(f.w, []byte{1}) }

func (f wakeFD) close() {
	unix.Close(f.r)
	unix.Close(f.w)
}
