package tcpinfo

import (
	"time"

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

// Queue tells how many connections wait for a listening socket to accept them.
func Queue(fd int) (n int, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != stateListen {
		return 0, false
	}
	return int(info.Unacked), true
}
