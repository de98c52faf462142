//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package offload

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const haveWakeFD = true

// wakeFD is a descriptor that becomes readable: a pipe's.
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

// write cannot fail or block: it is the first into an empty pipe whose reader
// is open.
func (f wakeFD) write() { unix.Write(f.w, []byte{1}) }

func (f wakeFD) close() {
	unix.Close(f.r)
	unix.Close(f.w)
}
