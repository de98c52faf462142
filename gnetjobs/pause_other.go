//go:build !linux || poll_opt

package gnetjobs

import "github.com/panjf2000/gnet/v2"

// pauser cannot stop an event loop from reading on this system.
type pauser struct{}

func newPauser(gnet.EventLoop) pauser { return pauser{} }

func (pauser) able() bool { return false }

func (pauser) set(*conn, bool) error { return nil }
