package tcpinfo

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// States of tcp(7) sockets, from include/net/tcp_states.h.
const (
	stateEstablished = 1
	stateClose       = 7
	stateCloseWait   = 8
	stateListen      = 10
)

// Of returns what is known about a connection. It returns false if nothing is.
func Of(fd int) (Waiting, bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Waiting{}, false
	}
	return Waiting{
		// As long as nothing has been sent, the kernel counts from the TCP
		// handshake. Last_data_recv would start again with every byte received.
		Age:    time.Duration(info.Last_data_sent) * time.Millisecond,
		Closed: info.State == stateClose,
		Ended:  info.State == stateClose || info.State == stateCloseWait,
	}, true
}

// QueueOf returns what is known about a listening socket's queue. It returns false
// if nothing is.
func QueueOf(fd int) (Queue, bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != stateListen {
		return Queue{}, false
	}
	q := Queue{Waiting: int(info.Unacked), Limit: int(info.Sacked)}
	// SO_MEMINFO returns nine numbers. The last one counts drops. x/sys has no
	// function for it, but this one works: it fills as much of its larger struct as
	// the kernel returns.
	const drops = 8 // SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h
	if mem, err := unix.GetsockoptTCPInfo(fd, unix.SOL_SOCKET, unix.SO_MEMINFO); err == nil {
		q.Dropped = (*[drops + 1]uint32)(unsafe.Pointer(mem))[drops]
	}
	return q, true
}
