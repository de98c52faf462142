// Nethttp is a server of net/http, HTTP/1.1 and HTTP/2, whose RSA signatures are
// gathered. Three lines make the difference; the rest is what anybody writes.
//
//	go run ./nethttp -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, func(at net.Addr) { log.Print("serving https://", at) }); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done. It calls listening when it listens.
func run(ctx context.Context, addr, certFile, keyFile string, listening func(net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	if cert.PrivateKey, err = multibuffer.Wrap(cert.PrivateKey); err != nil {
		log.Print(err) // the key works as before
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	listening(ln.Addr())

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello over", r.Proto) })
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%+v\n", multibuffer.Shared().Stats()) })
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
