//go:build linux

package peer

import (
	"context"
	"io"
	"log"
	"net/http"
)

func init() {
	register(&goPeer{info{name: "nethttp", speaks: []Protocol{HTTPS}}, func(ctx context.Context, s *Serve) error {
		return s.netHTTP(ctx)
	}})
	register(&goPeer{info{"nethttp-multibuffer", true, []Protocol{HTTPS}, multibufferRuns}, func(ctx context.Context, s *Serve) error {
		if err := s.wrapKey(); err != nil {
			return err
		}
		return s.netHTTP(ctx)
	}})
}

// netHTTP is net/http's server.
func (s *Serve) netHTTP(ctx context.Context) error {
	ln, err := s.listen(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		TLSConfig:         s.config,
		IdleTimeout:       s.IdleTimeout,
		ReadHeaderTimeout: s.HandshakeTimeout,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			s.counts.requests.Add(1)
			io.WriteString(w, answerBody)
		}),
	}
	return server.ServeTLS(ln, "", "")
}
