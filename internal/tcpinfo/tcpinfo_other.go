//go:build !linux

package tcpinfo

// Of returns false: nothing is known here.
func Of(fd int) (Waiting, bool) { return Waiting{}, false }

// QueueOf returns false: nothing is known here.
func QueueOf(fd int) (Queue, bool) { return Queue{}, false }
