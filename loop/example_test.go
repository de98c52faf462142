//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/jobs"
	"github.com/jobloop/jobloop/loop"
)

// An echo server over TLS. Unmodified crypto/tls runs on one thread, and a
// connection that waits for its client holds no job.
func Example() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = l.Listen("tcp", ":8443", &loop.TLSHandler{
		Config: &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: func(ctx context.Context, c *loop.TLSConn) error {
			for b := make([]byte, 4096); c.Readable(); {
				n, err := c.Read(b)
				if err != nil {
					return err
				}
				if _, err := c.Write(b[:n]); err != nil {
					return err
				}
			}
			return c.Park(nil) // called again when there is more
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(l.Run(context.Background()))
}

// A job waits for a descriptor of its own: of a device, or of a key engine.
func ExampleLoop_Go() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var engine [2]int // its answers come from engine[0]
	if err := unix.Pipe(engine[:]); err != nil {
		log.Fatal(err)
	}
	if err := unix.SetNonblock(engine[0], true); err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		j, _ := jobs.FromContext(ctx)
		j.WaitCtx().SetWaitFD("engine", engine[0], nil, nil)
		fmt.Println("asked")
		answer := make([]byte, 10)
		for {
			n, err := unix.Read(engine[0], answer)
			if err == nil {
				fmt.Printf("%s\n", answer[:n])
			}
			if err != unix.EAGAIN {
				return err
			}
			// Others run until it is readable, or for a shorter time: a resume
			// promises nothing.
			if err := j.Pause(); err != nil {
				return err
			}
		}
	})
	l.Go(func(ctx context.Context) error {
		fmt.Println("another job")
		_, err := unix.Write(engine[1], []byte("answered"))
		return err
	})
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// asked
	// another job
	// answered
}

func ExampleLoop() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Post(func() { // when the loop runs
		fmt.Println("on the loop's thread")
		go l.Shutdown(context.Background()) // Post, Go and Shutdown are for any goroutine
	})
	for _, s := range []string{"one", "two"} {
		l.Go(func(ctx context.Context) error {
			fmt.Println(s, "begins")
			defer fmt.Println(s, "ends")
			return loop.Sleep(ctx, 10*time.Millisecond) // while others run
		})
	}
	if err := l.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// Few jobs at a time, and short timeouts, for a server that must not grow.
func ExampleConfig() {
	_, err := loop.New(loop.Config{
		MaxJobs:     500,
		InitialJobs: 1000,
		IdleTimeout: 20 * time.Second,
	})
	fmt.Println(err)
	// Output: loop: invalid configuration: InitialJobs is 1000, MaxJobs 500
}

// greeting is a Handler with something to say.
type greeting string

func (g greeting) Serve(ctx context.Context, c *loop.Conn) error {
	_, err := io.WriteString(c, string(g))
	return err
}

func ExampleHandler() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		fmt.Println(ask(ln.Addr(), ""))
	}()
	l.Run(context.Background())
	// Output: welcome
}

// ask is a client of the examples.
func ask(addr net.Addr, request string) string {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	io.WriteString(c, request)
	answer, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func ExampleHandlerFunc() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	h := loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		name, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(c, "hello ", name)
		return err
	})
	ln, err := l.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		fmt.Print(ask(ln.Addr(), "loop\n"))
	}()
	l.Run(context.Background())
	// Output: hello loop
}

// A job reads what has come, and is given back until there is more.
func ExampleConn_Park() {
	h := loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		for b := make([]byte, 1024); c.Readable(); {
			n, err := c.Read(b)
			if err != nil { // at the end, or after Config.IdleTimeout
				return err
			}
			if _, err := c.Write(b[:n]); err != nil {
				return err
			}
		}
		return c.Park(nil)
	})
	_ = h // for Loop.Listen
}

// A job waits for something that a goroutine does.
func ExampleAwait() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		var answer int
		err := loop.Await(ctx, func(done func()) {
			go func() {
				defer done()
				answer = 42 // it may block here
			}()
		})
		fmt.Println(answer, err)
		return err
	})
	l.Run(context.Background())
	// Output: 42 <nil>
}

// One job reads a TLS connection while another writes to it.
func ExampleTLSConn() {
	handler := &loop.TLSHandler{
		Config: serverConfig(),
		Handler: func(ctx context.Context, c *loop.TLSConn) error {
			if err := c.Loop().Go(func(ctx context.Context) error { // the writer
				for {
					if _, err := io.WriteString(c, "news\n"); err != nil {
						return err
					}
					if err := loop.Sleep(ctx, time.Second); err != nil {
						return err
					}
				}
			}); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c) // the reader
			return err
		},
	}
	_ = handler // for Loop.Listen
}

// A handler answers what has come, and keeps no job until there is more.
func ExampleTLSConn_Park() {
	handler := &loop.TLSHandler{
		Config: serverConfig(),
		Handler: func(ctx context.Context, c *loop.TLSConn) error {
			for b := make([]byte, 1024); c.Readable(); {
				n, err := c.Read(b)
				if err != nil {
					return err
				}
				if _, err := c.Write(b[:n]); err != nil {
					return err
				}
			}
			return c.Park(nil)
		},
	}
	_ = handler // for Loop.Listen
}

// A job that is a TLS client.
func ExampleTLSClient() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", &loop.TLSHandler{
		Config:  serverConfig(),
		Handler: func(ctx context.Context, c *loop.TLSConn) error { _, err := io.WriteString(c, "welcome"); return err },
	})
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		raw, err := loop.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		c := loop.TLSClient(raw, clientConfig())
		defer c.Close()
		b, err := io.ReadAll(c)
		fmt.Printf("%s\n", b)
		return err
	})
	l.Run(context.Background())
	// Output: welcome
}

// A plain connection becomes a TLS one when its client asks for that (STARTTLS).
func ExampleTLSServer() {
	handler := loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		line := make([]byte, len("STARTTLS\n"))
		if _, err := io.ReadFull(c, line); err != nil {
			return err
		}
		t := loop.TLSServer(c, serverConfig())
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
		_, err := io.WriteString(t, "now it is private\n")
		return err
	})
	_ = handler // for Loop.Listen
}

// A Conn is a net.Conn whose waits are bounded.
func ExampleConn() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			_, err = io.WriteString(c, "too late")
		}
		return err
	}))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		fmt.Println(ask(ln.Addr(), ""))
	}()
	l.Run(context.Background())
	// Output: too late
}

func ExampleListener() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		fmt.Println(ask(ln.Addr(), ""))
		ln.Close() // what has been accepted stays open
	}()
	l.Run(context.Background())
	// Output: welcome
}

// A server behind a proxy on the same machine: a Unix socket that only the proxy's group
// can use. What a killed server has left there is replaced.
func ExampleListenConfig() {
	g, err := loop.NewGroup(2, loop.Config{Backlog: 1024})
	if err != nil {
		log.Fatal(err)
	}
	lc := &loop.ListenConfig{FileMode: 0o660}
	ln, err := lc.ListenGroup(g, "unix", "/run/example/http.sock", greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	log.Fatal(g.Run(context.Background()))
}

// A job that is a client.
func ExampleDialer() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	l.Go(func(ctx context.Context) error {
		defer l.Close()
		d := loop.Dialer{Timeout: 5 * time.Second}
		c, err := d.Dial(ctx, "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		fmt.Printf("%s\n", b)
		return err
	})
	l.Run(context.Background())
	// Output: welcome
}

// A timer that starts itself again.
func ExampleTimer() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l.Post(func() {
		var tick *loop.Timer
		n := 0
		tick = l.AfterFunc(time.Millisecond, func() {
			n++
			fmt.Println("tick", n)
			if n == 3 {
				l.Close()
				return
			}
			tick.Reset(time.Millisecond)
		})
	})
	l.Run(context.Background())
	// Output:
	// tick 1
	// tick 2
	// tick 3
}

func ExampleStats() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		l.Go(func(ctx context.Context) error { return loop.Sleep(ctx, time.Millisecond) })
	}
	l.Post(func() { go l.Shutdown(context.Background()) })
	l.Run(context.Background())
	s := l.Stats()
	fmt.Println(s.JobsStarted, "started,", s.JobsFinished, "finished")
	// Output: 3 started, 3 finished
}

// How long do new connections wait to be served?
func ExampleWaits() {
	var w loop.Waits // as Stats().Waits has it
	w.Counts[0], w.Counts[3], w.Counts[6] = 90, 8, 2
	var n, all uint64
	for _, c := range w.Counts {
		all += c
	}
	for i, c := range w.Counts {
		if n += c; 100*n >= 95*all {
			fmt.Printf("95 %% wait for less than %v\n", loop.WaitBound(i))
			break
		}
	}
	// Output: 95 % wait for less than 8ms
}

// A server that bounds what each client may have, by a limiter of its own.
func ExampleConfig_limits() {
	open := make(map[netip.Addr]int) // of the loop's goroutine
	address := func(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr() }
	l, err := loop.New(loop.Config{
		MaxConns: 50_000,
		Accept: func(a net.Addr) bool {
			if open[address(a)] >= 100 {
				return false
			}
			open[address(a)]++
			return true
		},
		Closed: func(a net.Addr) {
			if open[address(a)]--; open[address(a)] == 0 {
				delete(open, address(a))
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	l.Close()
	// Output:
}

// A loop for each of four cores.
func ExampleGroup() {
	g, err := loop.NewGroup(4, loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		for range 3 {
			fmt.Println(ask(ln.Addr(), ""))
		}
		g.Shutdown(context.Background())
	}()
	if err := g.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome
	// welcome
	// welcome
}

// A listener that was opened elsewhere: by systemd, say.
func ExampleGroupListener() {
	g, err := loop.NewGroup(2, loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ln, err := g.Serve(given, greeting("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		fmt.Println(ask(ln.Addr(), ""))
		ln.Close()
		g.Shutdown(context.Background())
	}()
	if err := g.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: welcome
}

func ExampleTLSHandler() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", &loop.TLSHandler{
		Config:           serverConfig(),
		HandshakeTimeout: 5 * time.Second,
		Handler: func(ctx context.Context, c *loop.TLSConn) error {
			_, err := io.WriteString(c, tls.VersionName(c.ConnectionState().Version))
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		c, err := tls.Dial("tcp", ln.Addr().String(), clientConfig())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", b)
	}()
	l.Run(context.Background())
	// Output: TLS 1.3
}

// Work that gathers requests does them together when nothing else is left.
func ExampleLoop_BeforeSleep() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var gathered []func()
	l.BeforeSleep(func() {
		if len(gathered) > 0 {
			fmt.Println(len(gathered), "requests together")
		}
		for _, done := range gathered {
			done()
		}
		gathered = gathered[:0]
	})
	for range 3 {
		l.Go(func(ctx context.Context) error {
			j, _ := jobs.FromContext(ctx)
			fn, arg, _ := j.WaitCtx().Callback()
			done := false
			gathered = append(gathered, func() { done = true; fn(arg) })
			for !done {
				if err := j.Pause(); err != nil {
					return err
				}
			}
			fmt.Println("served")
			return nil
		})
	}
	l.Post(func() { go l.Shutdown(context.Background()) })
	l.Run(context.Background())
	// Output:
	// 3 requests together
	// served
	// served
	// served
}

// A server of net/http whose handshakes are made on event loops.
func ExampleListenTLS() {
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	ln, err := loop.ListenTLS("tcp", ":8443", &tls.Config{
		// With engine/multibuffer, bind its key by engine.GetCertificate instead.
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"h2", "http/1.1"},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello over", r.Proto)
	})))
}

// Idle connections stay on the loop. One that asks for something that needs
// goroutines leaves it.
func ExampleConn_Detach() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := l.Listen("tcp", "127.0.0.1:0", loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
		ask := make([]byte, len("upgrade\n"))
		if _, err := io.ReadFull(c, ask); err != nil {
			return err
		}
		nc, err := c.Detach()
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			io.Copy(nc, nc) // as any code on package net
		}()
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "upgrade\nhello\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Print(line)
	}()
	l.Run(context.Background())
	// Output: hello
}

// A connection of package net joins the loop.
func ExampleLoop_Attach() {
	l, err := loop.New(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Close()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", b)
	}()
	go func() {
		defer ln.Close()
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if err := l.Attach(c, loop.HandlerFunc(func(_ context.Context, c *loop.Conn) error {
			_, err := io.WriteString(c, "served by a job")
			return err
		})); err != nil {
			log.Fatal(err)
		}
	}()
	l.Run(context.Background())
	// Output: served by a job
}
