package gnetjobs_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/gnetjobs"
)

// echoServer is gnet's echo server, as it is without TLS.
type echoServer struct {
	gnet.BuiltinEventEngine
	engine chan gnet.Engine
}

func (e *echoServer) OnBoot(eng gnet.Engine) gnet.Action {
	e.engine <- eng
	return gnet.None
}

func (e *echoServer) OnTraffic(c gnet.Conn) gnet.Action {
	buf, _ := c.Next(-1)
	c.Write(buf)
	return gnet.None
}

func ExampleTLS() {
	server := &echoServer{engine: make(chan gnet.Engine, 1)}
	cfg := &tls.Config{Certificates: []tls.Certificate{exampleCertificate()}}

	ended := make(chan error)
	go func() {
		ended <- gnet.Run(gnetjobs.TLS(server, cfg, gnetjobs.Options{}), "tcp://127.0.0.1:0", gnet.WithMulticore(true))
	}()
	eng := <-server.engine

	c, err := tls.Dial("tcp", exampleAddress(eng), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s over %s\n", buf, tls.VersionName(c.ConnectionState().Version))
	c.Close()

	eng.Stop(context.Background())
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output: hello over TLS 1.3
}

func ExampleOptions() {
	opts := gnetjobs.Options{
		HandshakeTimeout: 3 * time.Second,
		MaxInbound:       64 << 20, // uploads are kept until they are complete
		OnHandshake: func(c gnet.Conn, took time.Duration, err error) {
			if err != nil {
				log.Printf("%v: %v", c.RemoteAddr(), err)
			}
		},
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{exampleCertificate()}}
	handler := gnetjobs.TLS(&gnet.BuiltinEventEngine{}, cfg, opts)
	_ = handler // is for gnet.Run
}

// greeter runs code that blocks for each connection.
type greeter struct{ echoServer }

func (*greeter) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	err := gnetjobs.Job(c, func(nc net.Conn) error {
		fmt.Fprint(nc, "your name? ")
		name, err := bufio.NewReader(nc).ReadString('\n') // pauses
		if err != nil {
			return err
		}
		fmt.Fprintf(nc, "hello, %s", name)
		return nil // from here on, OnTraffic echoes
	})
	if err != nil {
		return nil, gnet.Close
	}
	return nil, gnet.None
}

func ExampleJob() {
	server := &greeter{echoServer{engine: make(chan gnet.Engine, 1)}}
	ended := make(chan error)
	go func() {
		ended <- gnet.Run(gnetjobs.Jobs(server, gnetjobs.Options{}), "tcp://127.0.0.1:0")
	}()
	eng := <-server.engine

	c, err := net.Dial("tcp", exampleAddress(eng))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "gopher\n")
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(answer)
	c.Close()

	eng.Stop(context.Background())
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output: your name? hello, gopher
}

// An RSA key whose signatures are computed for several handshakes at a time.
func ExampleTLS_engine() {
	cert := exampleCertificate()
	if eng, err := multibuffer.New(multibuffer.Config{}); err == nil {
		if key, err := eng.Key(cert.PrivateKey.(crypto.Signer)); err == nil { // an RSA key of 2048 to 4096 bits
			cert.PrivateKey = key
		}
	}
	cfg := &tls.Config{GetCertificate: engine.GetCertificate(
		func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil })}
	handler := gnetjobs.TLS(&gnet.BuiltinEventEngine{}, cfg, gnetjobs.Options{})
	_ = handler // is for gnet.Run
}

func ExampleDial() {
	cfg := &tls.Config{} // verifies the server as tls.Dial does
	cli, err := gnet.NewClient(gnetjobs.TLSClient(&gnet.BuiltinEventEngine{}, cfg, gnetjobs.Options{}))
	if err != nil {
		log.Fatal(err)
	}
	if err := cli.Start(); err != nil {
		log.Fatal(err)
	}
	defer cli.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := gnetjobs.Dial(ctx, cli, "tcp", "example.org:443", nil)
	if err != nil {
		log.Fatal(err)
	}
	c.AsyncWrite([]byte("HEAD / HTTP/1.0\r\n\r\n"), nil) // the answer comes to OnTraffic
}

// exampleAddress is where the engine's only listener listens.
func exampleAddress(eng gnet.Engine) string {
	fd, err := eng.Dup()
	if err != nil {
		log.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// exampleCertificate returns a certificate for the examples.
func exampleCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
