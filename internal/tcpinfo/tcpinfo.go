// Package tcpinfo asks the kernel how long a connection has waited to be accepted,
// and how many are waiting. This is only known on Linux, and only for TCP.
package tcpinfo

import "time"

// Waiting is what the kernel knows about a connection that has been accepted and
// not written to.
type Waiting struct {
	Age    time.Duration // since the TCP handshake, accurate to a few milliseconds
	Closed bool          // the peer has reset the connection
	Ended  bool          // the peer will send no more, or has reset the connection
}

// Queue is what the kernel knows about the connections that wait to be accepted
// from a listening socket.
type Queue struct {
	Waiting int
	Limit   int    // how many may wait: the backlog
	Dropped uint32 // first packets (SYN) dropped in total; it wraps around
}
