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

// Of asks about a connection.
func Of(fd int) (Waiting, bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Waiting{}, false
	}
	return Waiting{
		// Nothing has been sent yet, and then the kernel counts from the TCP
		// handshake. Last_data_recv would be young again with every byte.
		Age:    time.Duration(info.Last_data_sent) * time.Millisecond,
		Closed: info.State == stateClose,
		Ended:  info.State == stateClose || info.State == stateCloseWait,
	}, true
}

// QueueOf asks about a listening socket.
func QueueOf(fd int) (Queue, bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != stateListen {
		return Queue{}, false
	}
	q := Queue{Waiting: int(info.Unacked), Limit: int(info.Sacked)}
	// SO_MEMINFO gives nine numbers, of which the last counts drops. x/sys has no
	// function for it; this one fills as much of a larger struct as there is.
	const drops = 8 // SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h
	if mem, err := unix.GetsockoptTCPInfo(fd, unix.SOL_SOCKET, unix.SO_MEMINFO); err == nil {
		q.Dropped = (*[drops + 1]uint32)(unsafe.Pointer(mem))[drops]
	}
	return q, true
}
