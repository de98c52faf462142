// Websocketloop is an echo over websockets on event loops, by github.com/gobwas/ws, which
// works on any net.Conn and starts no goroutines. A connection that says nothing has no
// job and no buffers.
//
//	go run ./websocketloop -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/jobloop/jobloop/loop"
)

const (
	maxMessage     = 1 << 20
	upgradeTimeout = 10 * time.Second // to send the request
	idleTimeout    = 10 * time.Minute // to send a message; a client that lives sends pings
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "how many event loops, each on a thread of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, *loops, func(at net.Addr) { log.Print("serving wss://", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, certFile, keyFile string, loops int, listening func(net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	g, err := loop.NewGroup(loops, loop.Config{IdleTimeout: idleTimeout})
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", addr, &loop.TLSHandler{
		Config: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}},
		Handler: func(_ context.Context, c *loop.TLSConn) error {
			return serve(c)
		},
	})
	if err != nil {
		g.Close()
		return err
	}
	listening(ln.Addr())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(context.Background()) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(g.Shutdown(drain), <-ended)
}

// serve runs when a connection is new, and again when something comes on it.
func serve(c *loop.TLSConn) error {
	if c.Value() == nil {
		c.SetReadDeadline(time.Now().Add(upgradeTimeout))
		if _, err := ws.Upgrade(c); err != nil {
			return err // the client has been told
		}
		c.SetReadDeadline(time.Time{})
		c.SetValue(true)
	}
	for c.Readable() {
		if err := echo(c); err != nil {
			return goodbye(c, err)
		}
	}
	return c.Park(nil)
}

// echo reads a message and sends it back.
func echo(c net.Conn) error {
	control := wsutil.ControlFrameHandler(c, ws.StateServerSide) // answers pings and the end
	r := &wsutil.Reader{Source: c, State: ws.StateServerSide, CheckUTF8: true, MaxFrameSize: maxMessage, OnIntermediate: control}
	header, err := r.NextFrame()
	if err != nil {
		return err
	}
	if header.OpCode.IsControl() {
		return control(header, r)
	}
	message, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return err
	}
	if len(message) > maxMessage {
		return fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	return wsutil.WriteServerMessage(c, header.OpCode, message)
}

// goodbye says why the connection ends, unless the client has ended it.
func goodbye(c net.Conn, err error) error {
	var closed wsutil.ClosedError
	switch {
	case errors.As(err, &closed), errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, loop.ErrShutdown):
		return ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "")))
	case errors.Is(err, wsutil.ErrFrameTooLarge), errors.Is(err, wsutil.ErrInvalidUTF8):
		ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusPolicyViolation, err.Error())))
	}
	return err
}
