package gnetjobs_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/engine"
	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/jobs"
)

var rsaCert = sync.OnceValue(func() *tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return testkit.Certificate(key, key, serverNames...)
})

// engineConfig returns a server's configuration with the RSA certificate and
// key, which a key engine has made.
func engineConfig(key crypto.Signer) *tls.Config {
	cert := *rsaCert()
	cert.PrivateKey = key
	return &tls.Config{GetCertificate: engine.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &cert, nil
	})}
}

func rsaClientConfig(version uint16) *tls.Config {
	cfg := clientConfig(version)
	cfg.RootCAs = testkit.Roots(rsaCert())
	return cfg
}

func multibufferKey(t testing.TB, cfg multibuffer.Config) (*multibuffer.Engine, crypto.Signer) {
	t.Helper()
	if err := multibuffer.Supported(); err != nil {
		t.Skipf("SKIPPED, NOTHING IS TESTED HERE: %v", err)
	}
	e, err := multibuffer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.Key(rsaCert().PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return e, key
}

func offloadKey(t testing.TB, signer crypto.Signer, cfg offload.Config) (*offload.Engine, crypto.Signer) {
	t.Helper()
	e, err := offload.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	key, err := e.Key(signer)
	if err != nil {
		t.Fatal(err)
	}
	return e, key
}

// keepConns returns an echo handler, and its connections as they open.
func keepConns() (*handler, chan gnet.Conn) {
	conns := make(chan gnet.Conn, 1000)
	return &handler{
		onOpen:    func(c gnet.Conn) ([]byte, gnet.Action) { conns <- c; return nil, gnet.None },
		onTraffic: echo,
	}, conns
}

// hold holds up the event loops of the next connections until release is
// called.
func hold(t testing.TB, conns chan gnet.Conn, loops int) (release func()) {
	t.Helper()
	gate := make(chan bool)
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	for range loops {
		entered := make(chan bool)
		c := testkit.Receive(t, conns)
		if err := c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			close(entered)
			<-gate
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, entered)
	}
	return release
}

// helloCounter counts the connections that have sent their first flight.
type helloCounter struct {
	net.Conn
	once  sync.Once
	wrote *atomic.Int64
}

func (c *helloCounter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.once.Do(func() { c.wrote.Add(1) })
	return n, err
}

// storm has a client alone on each event loop, and then, with all loops held up
// until their ClientHellos have been sent, 64 at the same time.
func storm(t *testing.T, s *server, conns chan gnet.Conn, loops int, cfg *tls.Config) {
	t.Helper()
	for range loops { // gnet deals connections out in turn
		wantEcho(t, s.dialTLS(t, cfg), "alone")
	}
	const clients = 64
	release := hold(t, conns, loops)
	before := len(testkit.Descriptors())
	var wrote atomic.Int64
	results := make(chan error, clients)
	for i := range clients {
		go func() {
			results <- func() error {
				raw, err := s.connect()
				if err != nil {
					return err
				}
				defer raw.Close()
				c := tls.Client(&helloCounter{Conn: raw, wrote: &wrote}, cfg)
				if err := exchangeSome(c, uint64(i)); err != nil {
					return err
				}
				return c.Close()
			}()
		}()
	}
	testkit.Eventually(t, "64 ClientHellos", func() bool { return wrote.Load() == clients })
	testkit.Eventually(t, "64 accepted connections", func() bool { // as far as this system tells
		return before == 0 || len(testkit.Descriptors()) >= before+2*clients
	})
	release()
	for range clients {
		if err := testkit.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, "the clients' end", func() bool { return s.closed.Load() == clients })
}

// eachLoops runs f with one event loop and with two, for each version of TLS.
func eachLoops(t *testing.T, f func(t *testing.T, loops int, version uint16)) {
	t.Helper()
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, version uint16) { f(t, loops, version) })
		})
	}
}

// TestMultibuffer proves that signatures of handshakes that are under way at
// the same time are computed together, and one that is alone at once.
func TestMultibuffer(t *testing.T) {
	for _, worker := range []bool{false, true} {
		t.Run(fmt.Sprintf("worker %t", worker), func(t *testing.T) {
			eachLoops(t, func(t *testing.T, loops int, version uint16) {
				var together, told atomic.Int64
				e, key := multibufferKey(t, multibuffer.Config{Worker: worker, OnBatch: func(b multibuffer.Batch) {
					told.Add(1)
					if b.Requests > 1 { // how many, the machine's other work decides
						together.Add(1)
					}
				}})
				h, conns := keepConns()
				s := serve(t, h, withConfig(engineConfig(key), patient), gnet.WithNumEventLoop(loops))
				storm(t, s, conns, loops, rsaClientConfig(version))
				testkit.Eventually(t, "every batch told", func() bool { return uint64(told.Load()) == e.Stats().Batches })
				st := e.Stats()
				if want := uint64(64 + loops); st.Operations != want || st.BatchSizes[1] < uint64(loops) || st.Direct != 0 || st.Fallbacks != 0 {
					t.Errorf("%d handshakes: %+v", want, st)
				}
				if together.Load() == 0 {
					t.Errorf("no batch of more than one: %+v", st)
				}
			})
		})
	}
}

// TestOffload proves that handshakes wait for their signatures without keeping
// the loop.
func TestOffload(t *testing.T) {
	for _, wake := range []offload.WakeMode{offload.WakeCallback, offload.WakeFD} {
		t.Run(fmt.Sprintf("wake mode %d", wake), func(t *testing.T) {
			eachLoops(t, func(t *testing.T, loops int, version uint16) {
				e, key := offloadKey(t, rsaCert().PrivateKey.(crypto.Signer), offload.Config{Workers: 2, Wake: wake})
				h, conns := keepConns()
				s := serve(t, h, withConfig(engineConfig(key), patient), gnet.WithNumEventLoop(loops))
				storm(t, s, conns, loops, rsaClientConfig(version))
				if st := e.Stats(); st.Operations != uint64(64+loops) || st.Errors != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// gate is a signer whose operations wait to be let through.
type gate struct {
	crypto.Signer
	entered chan bool
	through chan bool
}

func (g *gate) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	g.entered <- true
	<-g.through
	return g.Signer.Sign(rand, digest, opts)
}

// TestOffloadKeepsNoLoop proves that a connection is served while another's
// handshake waits for its signature.
func TestOffloadKeepsNoLoop(t *testing.T) {
	g := &gate{rsaCert().PrivateKey.(crypto.Signer), make(chan bool, 10), make(chan bool, 10)}
	open := sync.OnceFunc(func() { close(g.through) })
	_, key := offloadKey(t, g, offload.Config{Workers: 4})
	s := serve(t, &handler{onTraffic: echo}, withConfig(engineConfig(key), patient))
	t.Cleanup(open)
	g.through <- true
	served := s.dialTLS(t, rsaClientConfig(0))
	testkit.Receive(t, g.entered)
	waiting := make(chan error, 1)
	c := tls.Client(s.dial(t), rsaClientConfig(0))
	go func() { waiting <- c.Handshake() }()
	testkit.Receive(t, g.entered)
	for i := range 20 {
		wantEcho(t, served, fmt.Sprint(i))
	}
	if len(waiting) != 0 {
		t.Fatalf("a handshake without its signature: %v", <-waiting)
	}
	open()
	if err := testkit.Receive(t, waiting); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, c, "at last")
}

// TestOffloadVanish has clients leave while their signatures are outstanding:
// their handshakes end at once, and late results harm nobody.
func TestOffloadVanish(t *testing.T) {
	const clients = 20
	for _, wake := range []offload.WakeMode{offload.WakeCallback, offload.WakeFD} {
		t.Run(fmt.Sprintf("wake mode %d", wake), func(t *testing.T) {
			g := &gate{rsaCert().PrivateKey.(crypto.Signer), make(chan bool, 10*clients), make(chan bool)}
			open := sync.OnceFunc(func() { close(g.through) })
			_, key := offloadKey(t, g, offload.Config{Workers: clients / 2, Wake: wake})
			var handshakes handshakeLog
			opts := patient
			opts.OnHandshake = handshakes.add
			s := serve(t, &handler{onTraffic: echo}, withConfig(engineConfig(key), opts), gnet.WithNumEventLoop(2))
			t.Cleanup(open)
			for i := range clients {
				raw := s.dial(t)
				hello := &recorder{Conn: raw}
				tls.Client(hello, rsaClientConfig(versions[i%2])).Handshake()
				if _, err := raw.Write(hello.written); err != nil {
					t.Fatal(err)
				}
				if i < clients/2 { // the others are queued in the engine
					testkit.Receive(t, g.entered)
				}
				defer testkit.Reset(raw)
				if i%4 == 0 {
					testkit.Reset(raw)
				}
			}
			testkit.Eventually(t, "the end of those that left", func() bool { _, bad := handshakes.count(); return bad == clients/4 })
			testkit.Eventually(t, "those that stay", func() bool { return s.connections() == clients-clients/4 })
			open()
			wantEcho(t, s.dialTLS(t, rsaClientConfig(0)), "hello")
			if good, bad := handshakes.count(); good != 1 || bad != clients/4 {
				t.Errorf("%d handshakes succeeded, %d failed", good, bad)
			}
		})
	}
}

// TestSignerFails proves that a signature that fails ends its handshake, and no
// other.
func TestSignerFails(t *testing.T) {
	broken := errors.New("token removed")
	signer := &breakable{Signer: rsaCert().PrivateKey.(crypto.Signer)}
	_, key := offloadKey(t, signer, offload.Config{})
	var handshakes handshakeLog
	s := serve(t, &handler{onTraffic: echo}, withConfig(engineConfig(key), gnetjobs.Options{OnHandshake: handshakes.add}))
	signer.err.Store(&broken)
	if c, err := s.connectTLS(rsaClientConfig(tls.VersionTLS12)); err == nil {
		c.Close()
		t.Error("a handshake without a signature")
	}
	if err := handshakes.only(t); err == nil || !strings.Contains(err.Error(), broken.Error()) { // crypto/tls keeps the text only
		t.Errorf("the handshake's error is %v", err)
	}
	signer.err.Store(nil)
	wantEcho(t, s.dialTLS(t, rsaClientConfig(0)), "hello")
}

type breakable struct {
	crypto.Signer
	err atomic.Pointer[error]
}

func (b *breakable) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := b.err.Load(); err != nil {
		return nil, *err
	}
	return b.Signer.Sign(rand, digest, opts)
}

// TestMultibufferVanish has clients leave anywhere in their handshakes, in the
// middle of batches.
func TestMultibufferVanish(t *testing.T) {
	for _, worker := range []bool{false, true} {
		t.Run(fmt.Sprintf("worker %t", worker), func(t *testing.T) {
			e, key := multibufferKey(t, multibuffer.Config{Worker: worker})
			var handshakes handshakeLog
			opts := patient
			opts.OnHandshake = handshakes.add
			s := serve(t, &handler{onTraffic: echo}, withConfig(engineConfig(key), opts), gnet.WithNumEventLoop(2))
			clients := size(300, 100)
			done := make(chan error, clients)
			atOnce := make(chan bool, 32)
			for i := range clients {
				go func() {
					atOnce <- true
					defer func() { <-atOnce }()
					done <- func() error {
						rnd := mathrand.New(mathrand.NewPCG(13, uint64(i)))
						raw, err := s.connect()
						if err != nil {
							return err
						}
						cfg := rsaClientConfig(versions[i%2])
						if i%3 == 0 { // stays
							c := tls.Client(raw, cfg)
							defer c.Close()
							return exchangeSome(c, uint64(i))
						}
						hello := &recorder{Conn: raw}
						tls.Client(hello, cfg).Handshake()
						n := len(hello.written)
						if rnd.IntN(3) == 0 {
							n = rnd.IntN(n)
						}
						raw.Write(hello.written[:n])
						if rnd.IntN(2) == 0 {
							for range rnd.IntN(1000) { // some time for the server to begin
								raw.RemoteAddr()
							}
						}
						testkit.Reset(raw)
						return nil
					}()
				}()
			}
			for range clients {
				if err := testkit.Receive(t, done); err != nil {
					t.Error(err)
				}
			}
			testkit.Eventually(t, "the end of every handshake", func() bool {
				good, bad := handshakes.count()
				return good+bad == clients
			})
			s.empty(t)
			wantEcho(t, s.dialTLS(t, rsaClientConfig(0)), "hello")
			t.Logf("%+v", e.Stats())
		})
	}
}

// TestHost proves that a handshake's job finds the event loop as engines need
// it: its hooks are called, and calls from other goroutines come.
func TestHost(t *testing.T) {
	eachLoops(t, func(t *testing.T, loops int, version uint16) {
		type key struct{}
		handshake := func(hello *tls.ClientHelloInfo) error {
			host, ok := engine.HostFromContext(hello.Context())
			job, inside := jobs.FromContext(hello.Context())
			if !ok || !inside {
				return fmt.Errorf("host: %t, job: %t", ok, inside)
			}
			n, _ := host.Local(key{}).(int)
			host.SetLocal(key{}, n+1)
			var slept, ran, posted bool // of the event loop's goroutine
			defer host.BeforeSleep(func() { slept = true; host.Ready(job) })()
			defer host.AfterJobs(func() { ran = true })()
			go host.Post(func() { posted = true; host.Ready(job) })
			for !slept || !ran || !posted {
				if err := job.Pause(); err != nil {
					return err
				}
			}
			if again := host.Local(key{}).(int); again != n+1 {
				return fmt.Errorf("Local is %d, want %d", again, n+1)
			}
			return nil
		}
		cfg := serverConfig()
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return nil, handshake(hello) }
		s := serve(t, &handler{onTraffic: echo}, withConfig(cfg, gnetjobs.Options{}), gnet.WithNumEventLoop(loops))
		for range 4 {
			wantEcho(t, s.dialTLS(t, clientConfig(version)), "hello")
		}
	})
}

// TestHostPost proves that the hooks before sleep are called again after a
// function that was posted, on a loop on which nothing else happens: it may
// have been an engine's, which has to be asked for what it gathers.
func TestHostPost(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{HandshakeTimeout: -1, WriteTimeout: -1, IdleTimeout: -1}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		hosts, resume := make(chan engine.Host, 1), make(chan func() error, 1)
		var slept atomic.Int64
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			ctx := gnetjobs.JobContext(nc)
			job, inside := jobs.FromContext(ctx)
			host, ok := engine.HostFromContext(ctx)
			if !ok || !inside {
				return fmt.Errorf("host: %t, job: %t", ok, inside)
			}
			defer host.BeforeSleep(func() { slept.Add(1) })()
			wake, arg, ok := job.WaitCtx().Callback()
			if !ok {
				return errors.New("no callback")
			}
			hosts <- host
			resume <- func() error { return wake(arg) }
			if err := job.Pause(); err != nil {
				return err
			}
			_, err := nc.Write([]byte("awake"))
			return err
		})}, wrap)
		client := dial(t, s)
		host := testkit.Receive(t, hosts)
		testkit.Eventually(t, "the hook", func() bool { return slept.Load() > 0 })
		for range 3 {
			before := make(chan int64, 1)
			if err := host.Post(func() { before <- slept.Load() }); err != nil {
				t.Fatal(err)
			}
			n := testkit.Receive(t, before)
			testkit.Eventually(t, "the hook after a posted function", func() bool { return slept.Load() > n })
		}
		if err := testkit.Receive(t, resume)(); err != nil {
			t.Fatal(err)
		}
		testkit.WantRead(t, client, "awake")
	})
}

// TestJobContext has a job shake hands by itself, in the middle of a protocol,
// with a key engine's key: it waits for the signature without keeping the loop.
func TestJobContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		g := &gate{rsaCert().PrivateKey.(crypto.Signer), make(chan bool, 10), make(chan bool)}
		open := sync.OnceFunc(func() { close(g.through) })
		e, key := offloadKey(t, g, offload.Config{Workers: 2})
		cfg := engineConfig(key)
		s := serve(t, &handler{onOpen: inJob(t, func(nc net.Conn) error {
			ctx := gnetjobs.JobContext(nc)
			job, ok := jobs.FromContext(ctx)
			if !ok || job.WaitCtx() == nil { // which it has for who is inside
				t.Errorf("JobContext has a job: %t, this one: %t", ok, job.WaitCtx() != nil)
			}
			line, err := bufio.NewReader(nc).ReadString('\n') // the client sends no more before it has the answer
			if err != nil {
				return err
			}
			if _, err := io.WriteString(nc, line); err != nil || line != "STARTTLS\n" {
				return errors.Join(err, echoLines(nc))
			}
			tc := tls.Server(nc, cfg)
			if err := tc.HandshakeContext(ctx); err != nil {
				t.Errorf("the job's handshake: %v", err)
				return err
			}
			return echoLines(tc)
		})}, withJobs(patient))
		t.Cleanup(open)
		other := s.dial(t)
		wantEcho(t, other, "plain\n")
		raw := s.dial(t)
		wantEcho(t, raw, "STARTTLS\n")
		c := tls.Client(raw, rsaClientConfig(version))
		waiting := make(chan error, 1)
		go func() { waiting <- c.Handshake() }()
		testkit.Receive(t, g.entered)
		for i := range 20 {
			wantEcho(t, other, fmt.Sprintf("%d\n", i))
		}
		if len(waiting) != 0 {
			t.Fatalf("a handshake without its signature: %v", <-waiting)
		}
		open()
		if err := testkit.Receive(t, waiting); err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c, "at last\n")
		if st := e.Stats(); st.Operations != 1 || st.Errors != 0 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("outside", func(t *testing.T) {
		var kept net.Conn // of the event loop's goroutine
		check := func(nc net.Conn) {
			t.Helper()
			if ctx := gnetjobs.JobContext(nc); ctx != context.Background() {
				t.Errorf("JobContext is %v", ctx)
			}
		}
		s := serve(t, &handler{
			onOpen: inJob(t, func(nc net.Conn) error {
				kept = nc
				_, err := nc.Write([]byte("kept"))
				return err
			}),
			onTraffic: func(c gnet.Conn) gnet.Action {
				check(kept) // its job has ended
				check(c)
				return echo(c)
			},
		}, withJobs(gnetjobs.Options{}))
		c := s.dial(t)
		check(c)
		testkit.WantRead(t, c, "kept")
		wantEcho(t, c, "hello")
	})
}
