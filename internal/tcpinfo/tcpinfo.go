// Package tcpinfo asks the kernel how long a connection has waited to be
// accepted, and how many wait. Only Linux knows: elsewhere, and of sockets that
// are not TCP's, nothing is known.
package tcpinfo

import "time"

// Waiting is what the kernel knows of a connection that has just been accepted,
// or has not been written to since.
type Waiting struct {
	Age    time.Duration // since the TCP handshake, to a few milliseconds
	Closed bool          // the peer has reset the connection
	Ended  bool          // the peer sends no more, or has reset the connection
}

// Queue is what the kernel knows of the connections that wait for a listening
// socket to accept them.
type Queue struct {
	Waiting int
	Limit   int    // how many may wait: the backlog
	Dropped uint32 // first packets (SYN) of others, in all; it wraps around
}
