package gnetjobs

import (
	"time"

	"github.com/panjf2000/gnet/v2"
)

// socket has the methods of gnet.Socket, which concern the descriptor. Any goroutine
// may call them.
type socket struct{ raw gnet.Conn }

func (s *socket) Fd() int                                  { return s.raw.Fd() }
func (s *socket) Dup() (int, error)                        { return s.raw.Dup() }
func (s *socket) SetReadBuffer(size int) error             { return s.raw.SetReadBuffer(size) }
func (s *socket) SetWriteBuffer(size int) error            { return s.raw.SetWriteBuffer(size) }
func (s *socket) SetNoDelay(on bool) error                 { return s.raw.SetNoDelay(on) }
func (s *socket) SetKeepAlivePeriod(d time.Duration) error { return s.raw.SetKeepAlivePeriod(d) }

func (s *socket) SetKeepAlive(on bool, idle, interval time.Duration, count int) error {
	return s.raw.SetKeepAlive(on, idle, interval, count)
}

// SetLinger calls gnet's SetLinger. After that, closing the connection closes the
// socket at once, without the host's own lingering.
func (c *conn) SetLinger(sec int) error {
	err := c.raw.SetLinger(sec)
	if err == nil {
		c.lingerSet.Store(true)
	}
	return err
}
