//go:build linux

package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
)

func init() {
	// Without TLS: the least that a server on gnet can cost.
	register(&goPeer{info{name: "gnet", speaks: []Protocol{PlainEcho}}, func(ctx context.Context, s *Serve) error {
		return s.gnet(ctx, func(h *gnetHandler) gnet.EventHandler { return h })
	}})
}

// GnetVersion is the version of gnet that is measured.
func GnetVersion() string { return moduleVersion("github.com/panjf2000/gnet/v2") }

// gnetHandler is the handler of the servers on gnet, with TLS and without.
type gnetHandler struct {
	gnet.BuiltinEventEngine
	s    *Serve
	boot func(gnet.Engine) error
	err  error // of boot
}

func (h *gnetHandler) OnBoot(e gnet.Engine) gnet.Action {
	if h.err = h.boot(e); h.err != nil {
		return gnet.Shutdown
	}
	return gnet.None
}

// gnetAddr asks the listening socket for the port the system has given it: gnet
// does not tell.
func gnetAddr(e gnet.Engine) (net.Addr, error) {
	fd, err := e.Dup()
	if err != nil {
		return nil, fmt.Errorf("gnet's listener: %w", err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.Addr(), nil
}

var gnetAnswer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(answerBody), answerBody)

func (h *gnetHandler) OnTraffic(c gnet.Conn) gnet.Action {
	if h.s.Protocol == HTTPS {
		return h.answer(c)
	}
	b, err := c.Next(-1)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		return gnet.Close
	}
	return gnet.None
}

// answer answers requests without a body, which is all that the clients send.
func (h *gnetHandler) answer(c gnet.Conn) gnet.Action {
	for {
		b, err := c.Peek(-1)
		if err != nil {
			return gnet.Close
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return gnet.None // the rest is on its way
		}
		h.s.counts.requests.Add(1)
		if _, err = c.Discard(end + 4); err == nil {
			_, err = c.Write(gnetAnswer)
		}
		if err != nil {
			return gnet.Close
		}
	}
}

// gnet runs a server on gnet with one event loop. With ReusePort that loop accepts
// its connections itself. Without, another loop would, on a thread of its own.
func (s *Serve) gnet(ctx context.Context, wrap func(*gnetHandler) gnet.EventHandler) error {
	h := &gnetHandler{s: s, boot: func(e gnet.Engine) error {
		addr, err := gnetAddr(e)
		if err == nil {
			s.listening(addr)
			context.AfterFunc(ctx, func() { e.Stop(context.Background()) })
		}
		return err
	}}
	err := gnet.Run(wrap(h), "tcp4://127.0.0.1:0",
		gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithLogger(stderrLogger{}))
	return errors.Join(h.err, err)
}

// stderrLogger writes gnet's warnings and errors to standard error. By default
// gnet writes them to standard output, which the benchmark reads.
type stderrLogger struct{}

func (stderrLogger) Debugf(string, ...any)             {}
func (stderrLogger) Infof(string, ...any)              {}
func (stderrLogger) Warnf(format string, args ...any)  { log.Printf(format, args...) }
func (stderrLogger) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (stderrLogger) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
