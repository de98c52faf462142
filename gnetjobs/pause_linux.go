//go:build !poll_opt

package gnetjobs

import (
	"reflect"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// gnet reads whatever arrives, and has no way to be told not to. So the host
// tells the kernel: it changes what gnet's epoll instance reports of a
// connection. gnet sets that itself only when it begins to keep bytes, or has
// sent all that it kept: then it begins to read again, and is stopped again if
// need be.
//
// The instance's descriptor is read from gnet's private fields. Where they are
// not as expected, or gnet is built with poll_opt, under which an event carries
// a pointer, nothing is ever paused, and the limits of Options hold alone. Nor
// is it with edge-triggered events, with which gnet reads on by itself.

// pauser can stop an event loop from reading from a connection.
type pauser struct{ epoll int } // -1: it cannot

func newPauser(l gnet.EventLoop) pauser {
	loop := reflect.Indirect(reflect.ValueOf(l))
	fd := field(loop, "poller", "fd")
	edge := field(loop, "engine", "opts", "EdgeTriggeredIO")
	if fd.Kind() != reflect.Int || edge.Kind() != reflect.Bool || edge.Bool() {
		return pauser{-1}
	}
	return pauser{int(fd.Int())}
}

// field follows names through structs and pointers to them. It returns the zero
// Value if there is no such field.
func field(v reflect.Value, names ...string) reflect.Value {
	for _, name := range names {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		v = reflect.Indirect(v.FieldByName(name))
	}
	return v
}

func (p pauser) able() bool { return p.epoll >= 0 }

// set has the kernel report whether the connection can be read from, and
// whether it can be written to if gnet keeps something.
func (p pauser) set(c *conn, read bool) error {
	var events uint32
	if read {
		events |= netpoll.ReadEvents
	}
	if c.raw.OutboundBuffered() > 0 {
		events |= netpoll.WriteEvents
	}
	fd := c.raw.Fd()
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Fd: int32(fd), Events: events})
	if err != nil {
		logging.Errorf("gnetjobs: epoll_ctl: %v", err)
	}
	return err
}
