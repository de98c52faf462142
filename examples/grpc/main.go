// Grpc is a gRPC server whose RSA signatures are gathered. It serves gRPC's health
// service, so that any client can call it.
//
//	go run ./grpc -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "where to listen")
	certFile := flag.String("cert", "cert.pem", "the certificate, with its chain")
	keyFile := flag.String("key", "key.pem", "its private key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *certFile, *keyFile, func(at net.Addr) { log.Print("serving gRPC at ", at) }); err != nil {
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

	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}})))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(ln)
}
