package main

import (
	"time"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// meter watches the handshakes of the demo's server from inside their jobs. It
// belongs to the loop. Others may read it after the loop has ended.
type meter struct {
	threads    map[int]bool // that jobs have run on, by kernel thread ID
	unknown    bool         // this system tells no thread IDs
	inFlight   int          // handshakes begun and not finished
	most       int
	pauses     uint64
	handshakes int // finished, successfully or not
}

func newMeter() *meter { return &meter{threads: make(map[int]bool)} }

// onHello is called when a connection's handshake begins.
func (m *meter) onHello(c *loop.TLSConn) {
	c.SetValue(resumes())
	m.inFlight++
	m.most = max(m.most, m.inFlight)
	m.thread()
}

// onHandshake is called when a handshake has ended, or has not begun in time.
func (m *meter) onHandshake(c *loop.TLSConn, _ time.Duration, _ error) {
	m.handshakes++
	before, begun := c.Value().(uint64)
	if !begun {
		return
	}
	c.SetValue(nil)
	m.inFlight--
	m.pauses += resumes() - before
	m.thread() // that the job last ran on
}

// resumes returns how often the caller's job has been resumed.
func resumes() uint64 {
	j, _ := jobs.Current()
	return j.Resumes()
}

// thread records the thread that the caller runs on.
func (m *meter) thread() {
	id, ok := threadID()
	if !ok {
		m.unknown = true
		return
	}
	m.threads[id] = true
}
