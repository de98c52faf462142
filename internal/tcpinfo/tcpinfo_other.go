//go:build !linux

package tcpinfo

// Of knows nothing.
func Of(fd int) (Waiting, bool) { return Waiting{}, false }

// Queue knows nothing.
func Queue(fd int) (n int, ok bool) { return 0, false }
