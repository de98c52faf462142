package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// clientTimeout limits each connection of a client, from the dial to the answer.
const clientTimeout = 30 * time.Second

// clients are the demo's clients: ordinary TLS clients with a goroutine each. A
// client connects, verifies the server's certificate, sends a request, checks the
// answer, and then connects again.
type clients struct {
	addr   string
	number int
	limit  int64 // of handshakes; 0: until the context is done
	tls    *tls.Config

	begun    atomic.Int64
	finished atomic.Int64

	mu       sync.Mutex
	latency  *hdrhistogram.Histogram // of successful handshakes, in microseconds
	versions map[uint16]int64        // of successful handshakes
	failures map[string]int64        // by error message
}

func newClients(addr string, number int, limit int64, config *tls.Config) *clients {
	return &clients{
		addr: addr, number: number, limit: limit, tls: config,
		latency:  hdrhistogram.New(1, clientTimeout.Microseconds(), 3),
		versions: make(map[uint16]int64),
		failures: make(map[string]int64),
	}
}

// run runs the clients until the context is done or the limit is reached. They
// finish the connections that they have begun.
func (cs *clients) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range cs.number {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := cs.begun.Add(1)
				if cs.limit > 0 && n > cs.limit {
					return
				}
				cs.one(n)
			}
		})
	}
	wg.Wait()
}

// one makes the n-th connection, with TLS 1.3 if n is even and TLS 1.2 if it is
// odd.
func (cs *clients) one(n int64) {
	version := uint16(tls.VersionTLS13)
	if n%2 == 1 {
		version = tls.VersionTLS12
	}
	took, err := cs.visit(version, fmt.Sprintf("/visit/%d", n))
	cs.mu.Lock()
	if err != nil {
		cs.failures[err.Error()]++
	} else {
		cs.versions[version]++
		cs.latency.RecordValue(max(took.Microseconds(), 1))
	}
	cs.mu.Unlock()
	cs.finished.Add(1)
}

// visit makes a connection and a request. It returns the time from the dial to
// the end of the handshake.
func (cs *clients) visit(version uint16, path string) (time.Duration, error) {
	config := cs.tls.Clone()
	config.MinVersion, config.MaxVersion = version, version
	deadline := time.Now().Add(clientTimeout)
	begin := time.Now()
	raw, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", cs.addr)
	if err != nil {
		return 0, cause(err)
	}
	defer raw.Close()
	raw.SetDeadline(deadline)
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil { // checks the certificate
		return 0, fmt.Errorf("handshake: %w", cause(err))
	}
	took := time.Since(begin)
	state := conn.ConnectionState()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, config.ServerName); err != nil {
		return 0, fmt.Errorf("request: %w", cause(err))
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, fmt.Errorf("response: %w", cause(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("response: %w", cause(err))
	}
	want := fmt.Sprintf("GET %s\nbody: 0 bytes\nprotocol: %s\ncipher suite: %s\n",
		path, tls.VersionName(version), tls.CipherSuiteName(state.CipherSuite))
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), want) {
		return 0, fmt.Errorf("wrong answer: %s", resp.Status)
	}
	return took, nil
}

// cause removes the addresses from an error, so that equal failures have equal
// messages and can be counted together.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
