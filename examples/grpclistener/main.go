// Grpclistener is a gRPC server whose TLS handshakes are made on event loops. A client
// costs no goroutine before its handshake is done, and RSA signatures are gathered. It
// serves gRPC's health service, so that any client can call it.
//
//	go run ./grpclistener -cert cert.pem -key key.pem
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/loop"
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
	ln, err := loop.ListenTLS("tcp", addr, &tls.Config{
		// Not Certificates: on a loop the key has to know the job that signs. Without
		// that, it would block the loop and sign alone.
		GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
		NextProtos:     []string{"h2"},
	})
	if err != nil {
		return err
	}
	listening(ln.Addr())

	server := grpc.NewServer(grpc.Creds(handshaken{credentials.NewTLS(nil)}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(ln)
}

// handshaken are the server's credentials for connections whose handshake is done. All
// else is as in those that it embeds.
type handshaken struct {
	credentials.TransportCredentials
}

// ServerHandshake tells gRPC about the handshake. Services find the client's certificate
// in their peer.Peer, as with the credentials of gRPC's own.
func (handshaken) ServerHandshake(nc net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := nc.(*tls.Conn)
	if !ok {
		return nil, nil, fmt.Errorf("the listener accepted a %T, not a *tls.Conn", nc)
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, nil, fmt.Errorf("the client speaks %q, not h2", state.NegotiatedProtocol)
	}
	return c, credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }
