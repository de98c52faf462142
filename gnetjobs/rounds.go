package gnetjobs

// Engines that gather the requests of several jobs have to know when nothing more
// will come, before the loop goes to sleep. gnet does not report that. But once it
// has checked all sockets, it executes the functions that it was given. So while
// jobs wait for engines, the host makes gnet call it in that way. If nothing has
// happened since it asked, the loop would have gone to sleep. Such a wait for the
// call is a round.

// rounds is the state of finding out when there is nothing left to do.
type rounds struct {
	asked bool   // a round is in progress
	seen  uint64 // host.events when it began
	idle  bool   // the hooks have been called, and nothing has happened since
}

// requestRound starts a round if jobs wait for engines.
func (h *host) requestRound() {
	if h.idle && h.events != h.seen {
		h.idle = false
	}
	if h.away == 0 || h.asked || h.idle || len(h.beforeSleep) == 0 && len(h.afterJobs) == 0 {
		return
	}
	h.asked = true
	h.seen = h.events
	if h.inPoll {
		h.wake(wakeRound)
		return
	}
	// Functions that gnet is given while it is executing are executed before it
	// checks the sockets again. By the time another goroutine runs, it will have
	// checked them.
	go h.wake(wakeRound)
}

// roundEnded is called when gnet has checked all sockets since the round began.
// quiet says that nothing has happened since then.
func (h *host) roundEnded(quiet bool) {
	h.asked = false
	if quiet {
		h.idle, h.seen = true, h.events
		h.callHooks(h.beforeSleep)
	}
}
