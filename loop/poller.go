package loop

// A poller asks the kernel which descriptors are ready. There is one for each
// kernel interface, in epoll_linux.go and kqueue_bsd.go, with the same methods
// in the same order:
//
//	newPoller() (*poller, error)
//	close() error
//
//	// add makes wait report fd's readiness in both directions, edge-triggered,
//	// until fd is removed or closed. It also reports what is ready already.
//	add(fd int, gen generation) error
//
//	// arm makes wait report once when fd is, or becomes, ready for one of the
//	// events. After that fd has to be armed again. fresh says that the poller
//	// does not know fd yet; a wrong guess only costs a system call. The error is
//	// EPERM for what is always ready: a regular file or a directory.
//	arm(fd int, gen generation, ev waitctx.Events, fresh bool) error
//
//	// armed reports whether fd, armed with ev before, is still armed. It is not
//	// if the descriptor has been closed since, even if its number is in use
//	// again.
//	armed(fd int, gen generation, ev waitctx.Events) bool
//
//	// remove undoes add and arm. It returns no error if the kernel does not know
//	// the descriptor, or if it has been closed.
//	remove(fd int) error
//
//	// wait fills events and returns how many there are. It returns at once if
//	// the timeout is 0, and as soon as there is an event otherwise. Without an
//	// event it returns 0 after the timeout, not before; with a negative timeout
//	// never. When woken or interrupted, it may return 0 early.
//	wait(events []event, timeout time.Duration) (int, error)
//
//	// wake makes the wait in progress return, or else the next one. It may be
//	// called from any goroutine, and so may remove; the other methods may not.
//	wake() error
//
// The same files contain what else differs between kernels: the option that makes
// the kernel distribute connections among several listeners, the option that makes
// it choose a port late, and whether the poller sees urgent data. What macOS alone
// does differently is in socket_darwin.go, opposite socket_unix.go. docs/PORTING.md
// lists what each system call does on each system.
//
// An event carries the generation under which its descriptor was registered. If
// a descriptor is closed and reused within one batch of events, the generation
// tells events of the old owner from those of the new one.

// generation numbers the successive owners of a descriptor. A few bits are
// enough: generations only have to differ within one batch of events.
type generation uint16

const maxGeneration = 1<<12 - 1

func (g generation) next() generation { return (g + 1) & maxGeneration }

// event is one descriptor's readiness.
type event struct {
	fd       int
	gen      generation
	readable bool
	writable bool
	eof      bool // the peer will send no more
	urgent   bool // the peer has sent urgent data; only set if seesUrgent
	failed   bool // the socket may have an error and has to be asked
}
