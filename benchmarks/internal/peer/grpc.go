//go:build linux

package peer

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

func init() {
	speaks := []Protocol{GRPC}
	register(&goPeer{info{name: "grpc", speaks: speaks}, func(ctx context.Context, s *Serve) error {
		return s.grpc(ctx)
	}})
	register(&goPeer{info{"grpc-multibuffer", true, speaks, multibufferRuns}, func(ctx context.Context, s *Serve) error {
		if err := s.wrapKey(); err != nil {
			return err
		}
		return s.grpc(ctx)
	}})
}

// GRPCVersion is the version of grpc-go that is measured.
func GRPCVersion() string { return moduleVersion("google.golang.org/grpc") }

// grpc is grpc-go's server, with gRPC's health service.
func (s *Serve) grpc(ctx context.Context) error {
	ln, err := s.listen(ctx)
	if err != nil {
		return err
	}
	s.config.NextProtos = []string{s.Protocol.ALPN()} // grpc-go adds h2, but leaves others there
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(s.config)),
		grpc.ConnectionTimeout(s.HandshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: s.IdleTimeout}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			s.counts.requests.Add(1)
			return handle(ctx, req)
		}),
	)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	return server.Serve(ln)
}
