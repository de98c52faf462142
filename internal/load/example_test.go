package load_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

func ExampleRun() {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())

	result, err := load.Run(context.Background(), load.Config{
		Targets:     []string{server.Listener.Addr().String()},
		Connections: 8,
		Loops:       1,
		Count:       100,
		Timeout:     10 * time.Second,
		TLS:         load.TLSConfig{RootCAs: trusted},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d handshakes, %d errors\n", result.Handshakes, result.Errors)
	// Output: 100 handshakes, 0 errors
}
