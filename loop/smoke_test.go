package loop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/loop"
)

func TestSmoke(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	ln, err := l.Listen("tcp", "127.0.0.1:0", &loop.TLSHandler{Config: cfg, Handler: func(ctx context.Context, c *tls.Conn) error {
		c.NetConn().(*loop.Conn).SetReadNonblock(true)
		_, err := io.Copy(c, c)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for k := range 3 {
				fmt.Fprintf(c, "hello %d %d", i, k)
				b := make([]byte, 100)
				n, err := c.Read(b)
				if want := fmt.Sprintf("hello %d %d", i, k); string(b[:n]) != want || err != nil {
					t.Errorf("%q %v", b[:n], err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%+v", l.Stats())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Logf("%+v", l.Stats())
}
