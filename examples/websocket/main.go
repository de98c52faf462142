// Websocket is an echo over websockets, by github.com/gorilla/websocket. TLS handshakes
// are made on event loops. Then the connection is net/http's, whose handler gives it to
// the Upgrader, as in any server of net/http.
//
//	go run ./websocket -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/jobloop/jobloop/loop"
)

const (
	maxMessage     = 1 << 20
	writeTimeout   = 10 * time.Second
	goodbyeTimeout = 5 * time.Second // for a client that has been told that the server stops
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, func(at net.Addr) { log.Print("serving wss://", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, certFile, keyFile string, listening func(net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	ln, err := loop.ListenTLS("tcp", addr, &tls.Config{
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"http/1.1"}, // HTTP/2 has no Upgrade
	})
	if err != nil {
		return err
	}
	listening(ln.Addr())

	var open sync.WaitGroup // Shutdown does not wait for websockets
	upgrader := websocket.Upgrader{HandshakeTimeout: writeTimeout}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Done()
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client has been told
		}
		defer c.Close()
		echo(ctx, c)
	})}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	err = <-stopped
	open.Wait()
	return err
}

// echo serves a websocket until its client leaves. When ctx is done, it tells the client
// that the server stops.
func echo(ctx context.Context, c *websocket.Conn) {
	c.SetReadLimit(maxMessage)
	defer context.AfterFunc(ctx, func() {
		now := time.Now()
		c.NetConn().SetReadDeadline(now.Add(goodbyeTimeout))
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), now.Add(goodbyeTimeout))
	})()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		c.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := c.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
