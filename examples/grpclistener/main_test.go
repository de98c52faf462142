package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// The server answers a client of grpc-go, its signatures are gathered where that
// can be done, and it stops cleanly.
func TestServer(t *testing.T) {
	testkit.CheckLeaks(t)
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
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
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	var p peer.Peer
	answer, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
	if err != nil || answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", answer, err)
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); !ok || info.State.NegotiatedProtocol != "h2" {
		t.Errorf("the client knows %+v of the connection", p.AuthInfo)
	}

	// One that does not speak gRPC's protocol is not served, and disturbs nobody.
	other, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if b, _ := io.ReadAll(other); len(b) > 0 {
		t.Errorf("a client without HTTP/2 got %q", b)
	}
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}

	if err := multibuffer.Supported(); err != nil {
		t.Log("SKIPPED: ", err)
	} else if s := multibuffer.Shared().Stats(); s.Operations < 2 || s.Unbound != 0 {
		t.Errorf("%+v, want the handshakes' signatures, all of them bound to their jobs", s)
	}
	stop()
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}
