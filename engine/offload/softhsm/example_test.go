package softhsm_test

import (
	"context"
	"crypto/tls"
	"log"

	"github.com/ThalesGroup/crypto11"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/loop"
)

// A TLS server with its key in a PKCS#11 token. Errors are left out.
func Example() {
	token, _ := crypto11.Configure(&crypto11.Config{Path: "/usr/lib/softhsm/libsofthsm2.so", TokenLabel: "web", Pin: "1234"})
	signer, _ := token.FindKeyPair(nil, []byte("tls"))
	chain, _ := token.FindCertificate(nil, []byte("tls"), nil)

	offloader, _ := offload.New(offload.Config{Workers: 8}) // operations in the token at a time
	key, _ := offloader.Key(signer)
	cert := &tls.Certificate{Certificate: [][]byte{chain.Raw}, PrivateKey: key}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }

	l, _ := loop.New(loop.Config{})
	l.Listen("tcp", ":8443", &loop.TLSHandler{
		Config:  &tls.Config{GetCertificate: engine.GetCertificate(get)},
		Handler: func(ctx context.Context, c *loop.TLSConn) error { _, err := c.Write([]byte("hello\n")); return err },
	})
	log.Fatal(l.Run(context.Background()))
}
