package loop

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// What macOS does differently from all other systems; socket_unix.go is theirs.

// macOS has neither SOCK_NONBLOCK nor accept4(2). So the functions below set the
// flags after the call, under the lock that keeps a fork from coming in between.

func socket(family, typ int) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, typ, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	return nonblocking(fd)
}

func accept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	nfd, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(nfd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, nil, err
	}
	if nfd, err = nonblocking(nfd); err != nil {
		return -1, nil, unix.ECONNABORTED // an error of the connection, not the listener
	}
	return nfd, sa, nil
}

func nonblocking(fd int) (int, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// lingerOption is the option whose time is in seconds. In SO_LINGER they are ticks
// of the kernel's clock (tokio-rs/mio#1454).
const lingerOption = unix.SO_LINGER_SEC

// maxLinger is the longest time that the kernel keeps as it is. It counts ticks,
// 100 a second, in a short (dotnet/corefx#4008).
const maxLinger = (1<<15 - 1) / 100
