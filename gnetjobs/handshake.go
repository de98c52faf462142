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

// setTLS creates the TLS connection. It is called when the handshake begins.
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
	c.unschedule() // otherwise a timer would expire for every handshake, ten seconds after it began
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

// report calls OnHandshake, once for each connection.
func (c *conn) report(err error) {
	h := c.host
	f := h.handler.opts.OnHandshake
	if f == nil || c.reported || h.handler.cfg == nil {
		return
	}
	c.reported = true
	f(c, time.Duration(h.now()-c.since), err)
}
