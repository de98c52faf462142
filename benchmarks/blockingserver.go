//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/loop"
)

// blockingServer is the process with one loop that does TLS handshakes at one
// address, and echoes what comes at another.
type blockingServer struct {
	Way     string `arg:""`
	Cert    string
	Keyfile string
	Threads int
}

// blockingWays are what private-key operations are done with: the engines, and
// for each what becomes of a certificate's key.
var blockingWays = map[string]func(crypto.Signer) (crypto.Signer, error){
	wayNone: func(key crypto.Signer) (crypto.Signer, error) { return key, nil },
	wayLanes: func(key crypto.Signer) (crypto.Signer, error) {
		return multibufferKey(multibuffer.Config{}, key)
	},
	wayWorker: func(key crypto.Signer) (crypto.Signer, error) {
		return multibufferKey(multibuffer.Config{Worker: true}, key)
	},
	wayOffload: func(key crypto.Signer) (crypto.Signer, error) {
		e, err := offload.New(offload.Config{Workers: 1}) // of a key that computes: see its documentation
		if err != nil {
			return nil, err
		}
		return e.Key(key)
	},
}

func multibufferKey(c multibuffer.Config, key crypto.Signer) (crypto.Signer, error) {
	e, err := multibuffer.New(c)
	if err != nil {
		return nil, err
	}
	return e.Key(key)
}

func (s *blockingServer) Run(ctx context.Context) error {
	runtime.GOMAXPROCS(s.Threads)
	return s.serve(ctx, func(handshakes, echo net.Addr) {
		fmt.Printf("listening on %v, echo on %v\n", handshakes, echo)
	})
}

// serve serves until ctx is done. It calls listening when it does.
func (s *blockingServer) serve(ctx context.Context, listening func(handshakes, echo net.Addr)) error {
	cert, err := tls.LoadX509KeyPair(s.Cert, s.Keyfile)
	if err != nil {
		return err
	}
	if cert.PrivateKey, err = blockingWays[s.Way](cert.PrivateKey.(crypto.Signer)); err != nil {
		return err
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		return err
	}
	defer l.Close()
	ln, err := l.Listen("tcp", "127.0.0.1:0", &loop.TLSHandler{
		Config: &tls.Config{
			GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }),
		},
		Handler: func(_ context.Context, c *loop.TLSConn) error { return answerRequests(c) },
	})
	if err != nil {
		return err
	}
	echo, err := l.Listen("tcp", "127.0.0.1:0", loop.HandlerFunc(echo))
	if err != nil {
		return err
	}
	listening(ln.Addr(), echo.Addr())
	if err := l.Run(ctx); ctx.Err() == nil {
		return err
	}
	return nil // told to end
}

// answerRequests answers requests without a body until the client goes.
func answerRequests(c io.ReadWriter) error {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		req.Body.Close()
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answerBody), answerBody); err != nil {
			return err
		}
	}
}

func echo(_ context.Context, c *loop.Conn) error {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
	}
}
