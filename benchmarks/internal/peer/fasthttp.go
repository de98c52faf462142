//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"io"
	"log"

	"github.com/valyala/fasthttp"
)

func init() {
	register(&goPeer{info{name: "fasthttp", speaks: []Protocol{HTTPS}}, func(ctx context.Context, s *Serve) error {
		ln, err := s.listen(ctx)
		if err != nil {
			return err
		}
		server := &fasthttp.Server{
			IdleTimeout: s.IdleTimeout,
			Logger:      log.New(io.Discard, "", 0),
			Handler: func(ctx *fasthttp.RequestCtx) {
				s.counts.requests.Add(1)
				ctx.WriteString(answerBody)
			},
		}
		return server.Serve(tls.NewListener(ln, s.config))
	}})
}
