package gnetjobs

// Engines that gather the requests of several jobs have to know when a share of
// them can be done, and when nothing more will come: before the loop goes to
// sleep. gnet does not tell that. It does, once it has looked at all sockets, run
// what it was given to execute. So while jobs wait for engines, the host has
// itself called in that way: if nothing has happened meanwhile, the loop would
// have gone to sleep.

// rounds is the host's state of finding out when there is nothing left to do.
type rounds struct {
	asked bool   // a round is under way
	seen  uint64 // host.events when it began
	idle  bool   // the hooks have been called, and nothing has happened since
}

// requestRound begins a round if jobs wait for engines.
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
	// gnet executes what comes while it executes something before it looks at
	// the sockets again. By the time another goroutine has run it will have.
	go h.wake(wakeRound)
}

// roundEnded is called when gnet has looked at all sockets since the round
// began; quiet says that there was nothing.
func (h *host) roundEnded(quiet bool) {
	h.asked = false
	if quiet {
		h.idle, h.seen = true, h.events
		h.callHooks(h.beforeSleep)
	}
}
