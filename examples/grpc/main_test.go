package main

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/examples/internal/testcert"
)

// The server answers a client of grpc-go, its signatures are gathered where that
// can be done, and it stops cleanly.
func TestServer(t *testing.T) {
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, func(a net.Addr) { at <- a }) }()
	var addr string
	select {
	case a := <-at:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "localhost")))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", answer, err)
	}
	conn.Close()
	if multibuffer.Supported() == nil && multibuffer.Shared().Stats().Operations == 0 {
		t.Error("the handshake's signature was not made by the engine")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
