// Websocketloop serves pages and an echo over websockets on event loops: package httploop
// answers the requests, and github.com/gobwas/ws, which works on any net.Conn and starts
// no goroutines, reads and writes the messages. A connection that says nothing has no job
// and no buffers.
//
//	go run ./websocketloop -cert cert.pem -key key.pem
package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/url"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/httploop"
	"github.com/jobloop/jobloop/loop"
)

const (
	maxMessage     = 1 << 20
	idleTimeout    = 10 * time.Minute // between messages; a client that lives sends pings
	messageTimeout = 5 * time.Second  // for a message to arrive
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	loops := flag.Int("loops", runtime.GOMAXPROCS(0), "how many event loops, each on a thread of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, *loops, func(at net.Addr) { log.Print("serving https://", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, certFile, keyFile string, loops int, listening func(net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	server := &httploop.Server{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: handle}
	h, err := server.LoopHandler()
	if err != nil {
		return err
	}
	g, err := loop.NewGroup(loops, loop.Config{})
	if err != nil {
		return err
	}
	ln, err := g.Listen("tcp", addr, h)
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

// handle answers a request.
func handle(rc *fasthttp.RequestCtx) {
	switch string(rc.Path()) {
	case "/":
		rc.WriteString("There is a websocket at /echo.\n")
	case "/echo":
		upgrade(rc)
	default:
		rc.NotFound()
	}
}

// upgrade answers the request for a websocket (RFC 6455, section 4.2).
func upgrade(rc *fasthttp.RequestCtx) {
	h := &rc.Request.Header
	key := h.Peek("Sec-WebSocket-Key")
	if !rc.IsGet() || !h.ConnectionUpgrade() || !bytes.EqualFold(h.Peek("Upgrade"), []byte("websocket")) ||
		string(h.Peek("Sec-WebSocket-Version")) != "13" || len(key) != 24 {
		rc.Error("a websocket of version 13 is expected", fasthttp.StatusUpgradeRequired)
		rc.Response.Header.Set("Upgrade", "websocket")
		rc.Response.Header.Set("Sec-WebSocket-Version", "13")
		return
	}
	// Pages of other sites must not connect with this site's cookies.
	if origin := h.Peek("Origin"); origin != nil {
		if u, err := url.Parse(string(origin)); err != nil || u.Scheme != "https" || !strings.EqualFold(u.Host, string(rc.Host())) {
			rc.Error("a page of another site", fasthttp.StatusForbidden)
			return
		}
	}
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	rc.Response.Header.Set("Connection", "Upgrade")
	rc.Response.Header.Set("Upgrade", "websocket")
	rc.Response.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	httploop.Hijack(rc, serve)
}

// serve runs when a websocket is new, and again when something comes on it.
func serve(_ context.Context, c *httploop.HijackedConn) error {
	for c.Readable() {
		c.SetReadDeadline(time.Now().Add(messageTimeout))
		err := echo(c)
		if err == nil && c.Loop().ShuttingDown() { // a client may never stop sending
			err = loop.ErrShutdown
		}
		if err != nil {
			return goodbye(c, err)
		}
	}
	c.SetReadDeadline(time.Now().Add(idleTimeout))
	return c.Park(serve)
}

// echo reads a message and sends it back.
func echo(c net.Conn) error {
	control := wsutil.ControlFrameHandler(c, ws.StateServerSide) // answers pings and the end
	r := &wsutil.Reader{Source: c, State: ws.StateServerSide, CheckUTF8: true, MaxMessageSize: maxMessage, OnIntermediate: control}
	header, err := r.NextFrame()
	if err != nil {
		return err
	}
	if header.OpCode.IsControl() {
		return control(header, r)
	}
	message, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return wsutil.WriteServerMessage(c, header.OpCode, message)
}

// goodbye says why the connection ends (RFC 6455, section 7.4.1), unless the client has
// ended it.
func goodbye(c net.Conn, err error) error {
	var closed wsutil.ClosedError
	var protocol ws.ProtocolError
	var code ws.StatusCode
	switch {
	case errors.As(err, &closed), errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, loop.ErrShutdown):
		code, err = ws.StatusGoingAway, nil
	case errors.Is(err, wsutil.ErrMessageTooLarge):
		code = ws.StatusMessageTooBig
	case errors.Is(err, wsutil.ErrInvalidUTF8):
		code = ws.StatusInvalidFramePayloadData
	case errors.As(err, &protocol):
		code = ws.StatusProtocolError
	default:
		return err
	}
	return errors.Join(err, ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))
}
