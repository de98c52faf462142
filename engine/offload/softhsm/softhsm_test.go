package softhsm_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

const (
	clients  = 64
	patience = time.Minute
)

// One loop serves TLS with keys in a token to OpenSSL's client.
func TestOpenSSL(t *testing.T) {
	ids := newIdentities(t, newToken(t))
	s := newServer(t, ids, 0)
	for _, id := range ids {
		for _, version := range []string{"tls1_2", "tls1_3"} {
			t.Run(id.name+" "+version, func(t *testing.T) { openssl(t, s.offloaded, id, version) })
		}
	}
}

// One loop serves TLS with keys in a token to 64 clients at once, while a plain
// connection is answered all along. SoftHSM computes with the processor that
// the clients, too, want, and what the first half logs says little; a token in
// hardware takes its time elsewhere, which the second half imitates.
func TestEchoesMeanwhile(t *testing.T) {
	ids := newIdentities(t, newToken(t))
	for _, delay := range []time.Duration{0, 10 * time.Millisecond} {
		t.Run("delay "+delay.String(), func(t *testing.T) { echoesMeanwhile(t, ids, delay) })
	}
}

func echoesMeanwhile(t *testing.T, ids []identity, delay time.Duration) {
	s := newServer(t, ids, delay)
	// An echo that is sent and answered while one and the same operation is in
	// the token shows that the loop does not wait for it. How many there are in
	// a round is a matter of luck: there are rounds until there are enough.
	var latencies, blocked []time.Duration
	enough, during, rounds := 50, 0, 0
	if delay == 0 {
		enough = 0
	}
	for end := time.Now().Add(patience); (during < enough || rounds < 3) && time.Now().Before(end); rounds++ {
		latencies = append(latencies, echoWhile(t, s.plain, func() { handshakes(t, s.offloaded, ids) }, func() func() {
			before := s.token.inside()
			return func() {
				if s.token.anyOf(before) {
					during++
				}
			}
		})...)
	}
	if during < enough {
		t.Errorf("%d echoes while an operation was in the token, want %d", during, enough)
	}
	want := offload.Stats{Operations: uint64(rounds * clients)}
	if got := s.engine.Stats(); got != want {
		t.Errorf("%d rounds of %d handshakes, counts are %+v", rounds, clients, got)
	}
	most := s.token.mostInside()
	if most > s.workers {
		t.Errorf("%d operations at a time in the token, want %d at most", most, s.workers)
	}
	t.Logf("%d operations, at most %d at a time in the token; %d of %d echoes were answered within one",
		want.Operations, most, during, len(latencies))

	nothing := func() func() { return func() {} }
	idle := echoWhile(t, s.plain, func() { time.Sleep(200 * time.Millisecond) }, nothing)
	for range 3 {
		blocked = append(blocked, echoWhile(t, s.plain, func() { handshakes(t, s.direct, ids) }, nothing)...)
	}
	t.Logf("idle loop:                       %s", summary(idle))
	t.Logf("%d handshakes, with offload:     %s", clients, summary(latencies))
	t.Logf("%d handshakes, blocking the loop: %s", clients, summary(blocked))
}

// server is a loop with three addresses.
type server struct {
	workers   int
	engine    *offload.Engine
	token     *watch
	offloaded net.Addr // TLS, with the keys in engine
	direct    net.Addr // TLS, with the keys as they are
	plain     net.Addr // no TLS
}

func newServer(t *testing.T, ids []identity, delay time.Duration) *server {
	t.Helper()
	workers := 8
	if delay == 0 {
		workers = 1 // SoftHSM computes in this process: the cores to spare, and not more
	}
	e, err := offload.New(offload.Config{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{engine: e, workers: workers, token: &watch{delay: delay}}
	var direct, offloaded []*tls.Certificate
	for _, id := range ids {
		signer := &watchedSigner{id.signer, s.token}
		key, err := e.Key(signer)
		if err != nil {
			t.Fatal(err)
		}
		direct = append(direct, id.with(signer))
		offloaded = append(offloaded, id.with(key))
	}
	l := looptest.New(t, loop.Config{})
	s.offloaded = looptest.Listen(t, l, echoTLS(offloaded))
	s.direct = looptest.Listen(t, l, echoTLS(direct))
	s.plain = looptest.Listen(t, l, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error { return echo(c, func() error { return c.Park(nil) }) }))
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	})
	return s
}

// handshakes has as many clients as there are to be connect at once, one half
// to each key, half of them with each version, and waits until all have had
// their echo.
func handshakes(t *testing.T, addr net.Addr, ids []identity) {
	var wg sync.WaitGroup
	for i := range clients {
		id := ids[i%len(ids)]
		roots := x509.NewCertPool()
		roots.AddCert(id.cert)
		version := uint16(tls.VersionTLS12 + i/len(ids)%2)
		cfg := &tls.Config{RootCAs: roots, ServerName: id.name, MinVersion: version, MaxVersion: version}
		wg.Go(func() {
			d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: cfg}
			c, err := d.Dial("tcp", addr.String())
			if err != nil {
				t.Errorf("%s, %s: %v", id.name, tls.VersionName(version), err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if err := ping(c); err != nil {
				t.Errorf("%s, %s: %v", id.name, tls.VersionName(version), err)
			}
		})
	}
	wg.Wait()
}

// openssl has OpenSSL's client connect, verify the certificate, and get an
// echo.
func openssl(t *testing.T, addr net.Addr, id identity, version string) {
	file := filepath.Join(t.TempDir(), "cert.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", "s_client", "-brief", "-connect", addr.String(),
		"-servername", id.name, "-verify_hostname", id.name, "-CAfile", file, "-verify_return_error", "-"+version)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var says strings.Builder
	cmd.Stderr = &says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, "hello token\n")
	answer, err := bufio.NewReader(stdout).ReadString('\n')
	io.WriteString(stdin, "Q\n") // s_client's command to end
	stdin.Close()
	if werr := cmd.Wait(); err != nil || werr != nil || answer != "hello token\n" {
		t.Fatalf("answer %q, errors %v, %v\n%s", answer, err, werr, says.String())
	}
	protocol := map[string]string{"tls1_2": "TLSv1.2", "tls1_3": "TLSv1.3"}[version]
	for _, want := range []string{"Protocol version: " + protocol, "Verification: OK"} {
		if !strings.Contains(says.String(), want) {
			t.Errorf("openssl does not say %q, but\n%s", want, says.String())
		}
	}
}

// echoWhile keeps asking a plain connection for echoes while work is done. It
// returns how long each took; around is called before each, and what it
// returns after it.
func echoWhile(t *testing.T, addr net.Addr, work func(), around func() func()) []time.Duration {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	done := make(chan bool)
	go func() {
		defer close(done)
		work()
	}()
	var latencies []time.Duration
	for {
		after := around()
		begin := time.Now()
		if err := ping(c); err != nil {
			t.Errorf("plain echo: %v", err)
			<-done
			return latencies
		}
		latencies = append(latencies, time.Since(begin))
		after()
		select {
		case <-done:
			return latencies
		case <-time.After(200 * time.Microsecond): // a client that thinks
		}
	}
}

func ping(c net.Conn) error {
	b := []byte("ping")
	if _, err := c.Write(b); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		return errors.Join(errors.New("no echo"), err)
	}
	return nil
}

func summary(d []time.Duration) string {
	d = slices.Sorted(slices.Values(d))
	at := func(percent int) time.Duration { return d[(len(d)-1)*percent/100].Round(time.Microsecond) }
	return fmt.Sprintf("%5d echoes, p50 %v, p99 %v, max %v", len(d), at(50), at(99), at(100))
}

// watch knows which operations are in the token.
type watch struct {
	delay time.Duration // added to each

	mu   sync.Mutex
	last int
	now  []int
	most int
}

// mostInside returns the most operations that were in the token at a time.
func (w *watch) mostInside() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

// inside returns the operations in the token.
func (w *watch) inside() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.now)
}

// anyOf reports whether one of ops is still in the token.
func (w *watch) anyOf(ops []int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(ops, func(op int) bool { return slices.Contains(w.now, op) })
}

type watchedSigner struct {
	crypto.Signer
	watch *watch
}

func (s *watchedSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	w := s.watch
	w.mu.Lock()
	w.last++
	op := w.last
	w.now = append(w.now, op)
	w.most = max(w.most, len(w.now))
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now = slices.DeleteFunc(w.now, func(o int) bool { return o == op })
		w.mu.Unlock()
	}()
	time.Sleep(w.delay)
	return s.Signer.Sign(rand, digest, opts)
}

// echoTLS sends back what it reads, with the certificate that the client asks
// for.
func echoTLS(certs []*tls.Certificate) *loop.TLSHandler {
	get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for _, c := range certs {
			if c.Leaf.DNSNames[0] == hello.ServerName {
				return c, nil
			}
		}
		return nil, errors.New("no such certificate")
	}
	return &loop.TLSHandler{
		Config:  &tls.Config{GetCertificate: engine.GetCertificate(get)},
		Handler: func(_ context.Context, c *loop.TLSConn) error { return echo(c, func() error { return c.Park(nil) }) },
	}
}

// conn is what a loop.Conn and a loop.TLSConn have in common.
type conn interface {
	io.ReadWriter
	Readable() bool
}

// echo sends back what has come, and then has the connection parked, so that it
// keeps no job while there is nothing.
func echo(c conn, park func() error) error {
	for b := make([]byte, 4096); c.Readable(); {
		n, err := c.Read(b)
		if err != nil {
			return err
		}
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
	}
	return park()
}
