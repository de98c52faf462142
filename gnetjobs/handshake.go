package gnetjobs

import (
	"fmt"
	"time"
)

// handshake begins a client's handshake, in a job.
func (c *conn) handshake() {
	c.phase = phaseHandshake
	c.setTLS()
	c.host.makeReady(c.host.newTask(c, nil))
}

// setTLS is called when the handshake begins.
func (c *conn) setTLS() {
	h := c.host.handler
	cfg := h.cfg
	if d := c.dialing; d != nil && d.serverName != "" && cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = d.serverName
	}
	if h.client {
		c.tls.Client((*transport)(c), cfg)
	} else {
		c.tls.Server((*transport)(c), cfg)
	}
}

// handshaken is called when the handshake's job has ended.
func (c *conn) handshaken(err error) {
	c.timeout.handshake = 0
	c.unschedule() // or a timer would go off for each handshake of ten seconds ago
	c.schedule(c.timeout.stall)
	if err != nil {
		c.fail(fmt.Errorf("gnetjobs: TLS handshake: %w", err)) // finish will report it
		return
	}
	if c.phase != phaseHandshake {
		return
	}
	c.report(nil)
	if c.phase == phaseHandshake {
		c.open()
	}
}

// report tells the user what has become of the handshake.
func (c *conn) report(err error) {
	h := c.host
	f := h.handler.opts.OnHandshake
	if f == nil || c.reported || h.handler.cfg == nil {
		return
	}
	c.reported = true
	f(c, time.Duration(h.now()-c.since), err)
}
