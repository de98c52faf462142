package loop

// A poller asks the kernel which descriptors are ready. There is one for each
// kernel interface, in epoll_linux.go and kqueue_bsd.go, with the same methods
// in the same order:
//
//	newPoller() (*poller, error)
//	close() error
//
//	// add reports fd's readiness in both directions, edge-triggered, until
//	// the fd is removed or closed. What is ready already is reported first.
//	add(fd int, gen generation) error
//
//	// arm reports once when fd is, or becomes, ready for one of the events,
//	// and then not before it is armed again. fresh says that fd is not known
//	// to the poller yet; a wrong guess costs a system call, no more.
//	arm(fd int, gen generation, ev waitctx.Events, fresh bool) error
//
//	// armed reports whether what arm has armed for ev is armed still: it is not
//	// if the descriptor has been closed since, even if its number is in use
//	// again.
//	armed(fd int, gen generation, ev waitctx.Events) bool
//
//	// remove ends add and arm. A descriptor the kernel does not know of, or
//	// that has been closed, is no error.
//	remove(fd int) error
//
//	// wait fills events and returns their number: at once if the timeout is
//	// 0, when there is one if it is negative, and else after the timeout at
//	// the earliest. It returns 0 early when woken or interrupted.
//	wait(events []event, timeout time.Duration) (int, error)
//
//	// wake makes a wait, the one in progress or the next, return. It may be
//	// called from any goroutine; the other methods may not.
//	wake() error
//
// Beside them stand what else differs from kernel to kernel: socket, accept,
// the option by which the kernel deals connections to several listeners, the one
// by which it chooses a port late, and whether the poller sees urgent data.
//
// An event carries the generation its descriptor was registered under, so that
// one for a descriptor that was closed and reused within a batch of events can
// be told from one for its new owner.

// generation numbers the owners of a descriptor number. A few bits are enough:
// they only have to differ within one batch of events.
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
	urgent   bool // the peer has sent urgent data; only where seesUrgent
	failed   bool // the socket may have an error: it has to be asked
}
