package offload

import (
	"os"

	"golang.org/x/sys/unix"
)

const haveWakeFD = true

// wakeFD is a descriptor that becomes readable: an eventfd.
type wakeFD struct{ fd int }

func newWakeFD() (wakeFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return wakeFD{fd}, os.NewSyscallError("eventfd", err)
}

func (f wakeFD) readable() int { return f.fd }

// write makes the descriptor readable. It cannot fail: the first write to an
// eventfd never has to wait.
func (f wakeFD) write() { unix.Write(f.fd, []byte{7: 1}) } // not 0 in either byte order

func (f wakeFD) close() { unix.Close(f.fd) }
