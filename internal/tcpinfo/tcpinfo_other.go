//go:build !linux

package tcpinfo

// Of knows nothing.
func Of(fd int) (Waiting, bool) { return Waiting{}, false }

// QueueOf knows nothing.
func QueueOf(fd int) (Queue, bool) { return Queue{}, false }
