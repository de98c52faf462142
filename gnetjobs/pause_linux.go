//go:build !poll_opt

package gnetjobs

import (
	"reflect"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// gnet reads whatever arrives, and offers no way to prevent that. So the host
// changes which events gnet's epoll instance reports for a connection. gnet sets
// these events itself only when it starts to keep bytes or has sent all that it
// kept. It then reads again, and is stopped again if necessary.
//
// The descriptor of the epoll instance is read from gnet's private fields. Reading
// is never paused if the fields are not as expected, or if gnet is built with
// poll_opt, where an event carries a pointer. Nor is it with edge-triggered events,
// where gnet continues to read by itself. Only the limits of Options apply then.

// pauser can stop an event loop from reading from a connection.
type pauser struct{ epoll int } // -1: not possible

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

// set makes the kernel report when the connection can be read from, if read is
// true, and when it can be written to, if gnet keeps bytes for it.
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
		logError("epoll_ctl: %v", err)
	}
	return err
}
