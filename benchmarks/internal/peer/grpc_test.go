//go:build linux

package peer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
)

// dialGRPC returns a client that trusts no certificate but the server's. It connects
// when it is first used, with a version of TLS (0: any) and, if there are some, a
// session.
func dialGRPC(t *testing.T, s *Server, version uint16, sessions tls.ClientSessionCache) *grpc.ClientConn {
	t.Helper()
	pem, err := os.ReadFile(s.Cert.File)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version, ClientSessionCache: sessions}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", s.Cert.File)
	}
	c, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// checkHealth asks for the server's health, and returns what the connection agreed on.
func checkHealth(ctx context.Context, c *grpc.ClientConn, s *Server, times int) (state tls.ConnectionState, err error) {
	ctx, cancel := context.WithTimeout(ctx, client.IOTimeout)
	defer cancel()
	for range times {
		var with peer.Peer
		answer, err := grpc_health_v1.NewHealthClient(c).Check(ctx, new(grpc_health_v1.HealthCheckRequest), grpc.Peer(&with))
		if err != nil {
			return state, err
		}
		if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			return state, fmt.Errorf("its health is %v", answer.Status)
		}
		info, ok := with.AuthInfo.(credentials.TLSInfo)
		if !ok {
			return state, fmt.Errorf("the connection has %T instead of TLS", with.AuthInfo)
		}
		state = info.State
		if got := fmt.Sprintf("%x", sha256.Sum256(state.PeerCertificates[0].Raw)); got != s.Cert.SHA256 {
			return state, errors.New("another server's certificate")
		}
	}
	return state, nil
}

// A gRPC server closes a connection that has been idle for too long.
func TestGRPCIdleTimeout(t *testing.T) {
	for _, name := range Names(GRPC) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, keyFor(t, peers[name]))
			o.Protocol, o.IdleTimeout = GRPC, time.Second
			err := With(t.Context(), peers[name], o, func(s *Server) error {
				c := dialGRPC(t, s, 0, nil)
				if _, err := checkHealth(t.Context(), c, s, 1); err != nil {
					return err
				}
				ctx, cancel := context.WithTimeout(t.Context(), client.IOTimeout)
				defer cancel()
				if !c.WaitForStateChange(ctx, connectivity.Ready) {
					t.Error("the connection is still there")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A gRPC server offers no other protocol than its own.
func TestGRPCOffersH2Only(t *testing.T) {
	for _, name := range Names(GRPC) {
		t.Run(name, func(t *testing.T) {
			o := options(t, keyFor(t, peers[name]))
			o.Protocol = GRPC
			err := With(t.Context(), peers[name], o, func(s *Server) error {
				for offered, want := range map[string]string{"h2 http/1.1": "h2", "http/1.1 h2": "h2", "http/1.1": ""} {
					c, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, NextProtos: strings.Fields(offered)})
					if err != nil {
						return err
					}
					if got := c.ConnectionState().NegotiatedProtocol; got != want {
						t.Errorf("of %q it chose %q, want %q", offered, got, want)
					}
					c.Close()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
