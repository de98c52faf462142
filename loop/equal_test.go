package loop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A loop.Conn behaves as package net's connections do, and a loop.TLSConn as
// crypto/tls's: the same script of operations, made at random from a seed, has
// the same results whether an end is used by goroutines or by jobs.

var (
	equalScripts = flag.Int("scripts", 0, "scripts that TestEqual runs of each of its four families; 0: 2500, fewer with the race detector")
	equalSeed    = flag.Uint64("seed", 0, "the seed of the one script that TestEqual runs; 0: those from 1 on")
)

// kinds are who uses the two ends, a loop's jobs (true) or goroutines.
type kinds [2]bool

func (k kinds) String() string {
	name := map[bool]string{false: "net", true: "loop"}
	return name[k[0]] + "," + name[k[1]]
}

var otherKinds = []kinds{{true, false}, {false, true}, {true, true}}

// TestEqual runs scripts with package net at both ends, and then with a loop at
// one or both. The kernel delivers when it likes: what differs is tried again,
// and is a fault only if it always differs.
func TestEqual(t *testing.T) {
	n := *equalScripts
	if n == 0 {
		n = 2500
		if testkit.RaceEnabled {
			n = 250
		}
	}
	for _, f := range []family{familyTCP, familyUnix, familyTLS12, familyTLS13} {
		t.Run(f.String(), func(t *testing.T) {
			if *equalSeed != 0 {
				newPlaygrounds(t, f, 1)[0].tell(newScript(f, *equalSeed))
				return
			}
			var next atomic.Uint64
			var wg sync.WaitGroup
			defer func(began time.Time) {
				t.Logf("%d scripts, %v", n, time.Since(began).Round(time.Millisecond))
			}(time.Now())
			var once atomic.Int64
			for _, p := range newPlaygrounds(t, f, 4) { // most of the time each waits for its loops
				wg.Go(func() {
					for !t.Failed() {
						seed := next.Add(1)
						if seed > uint64(n) {
							return
						}
						once.Add(int64(p.compare(newScript(f, seed))))
					}
				})
			}
			wg.Wait()
			switch differed := once.Load(); {
			case differed > 3+int64(n)/500: // it is not the kernel, then
				t.Errorf("%d results of %d scripts differed, but not again", differed, n)
			case differed > 0:
				t.Logf("%d results of %d scripts differed, but not again", differed, n)
			}
		})
	}
}

// compare runs a script for all kinds of ends. It returns how many results
// differed, but not always.
func (p *playground) compare(sc script) (once int) {
	want := p.run(sc, kinds{})
	if slices.Contains(want, errHangs.Error()) {
		p.t.Errorf("%v, seed %d: the model of a connection is wrong\n%s", sc.family, sc.seed, sideBySide(sc, kinds{}, want, nil))
	}
	for _, k := range otherKinds {
		got := p.run(sc, k)
		var first string
		try := 0
		for ; !slices.Equal(got, want); try++ {
			if try == 2 {
				p.t.Errorf("%v, %v differs from package net; repeat it with -run 'TestEqual/%v' -seed %d\n%s",
					sc.family, k, sc.family, sc.seed, sideBySide(sc, k, want, got))
				break
			}
			if try == 0 {
				first = sideBySide(sc, k, want, got)
			}
			want, got = p.run(sc, kinds{}), p.run(sc, k)
		}
		if try == 1 || try == 2 && slices.Equal(got, want) {
			p.t.Logf("%v, %v differed, but not again, seed %d\n%s", sc.family, k, sc.seed, first)
			once++
		}
	}
	return once
}

// tell runs a script and prints what comes of it.
func (p *playground) tell(sc script) {
	want := p.run(sc, kinds{})
	for _, k := range otherKinds {
		got := p.run(sc, k)
		if !slices.Equal(got, want) {
			p.t.Errorf("%v differs", k)
		}
		p.t.Logf("%+v\n%s", sc.family, sideBySide(sc, k, want, got))
	}
}

func sideBySide(sc script, k kinds, want, got []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    end %d dials, end %d is TLS's client, two loops' ends on the same one: %t\n", sc.dials, sc.tlsClient, sc.oneLoop)
	fmt.Fprintf(&b, "    %-44s %-44s %s\n", "step", "net,net", k)
	at := func(s []string, i int) string {
		if i < len(s) {
			return s[i]
		}
		return "-"
	}
	i := 0
	line := func(what string) {
		mark := "   "
		if at(want, i) != at(got, i) {
			mark = "!!!"
		}
		fmt.Fprintf(&b, "%s %-44s %-44s %s\n", mark, what, at(want, i), at(got, i))
		i++
	}
	for _, s := range sc.steps {
		line(s.String())
		for _, w := range s.ends {
			line(fmt.Sprintf("    what waited at end %d has ended", w.end))
		}
	}
	return b.String()
}

// errorClasses are the errors that people ask for.
var errorClasses = []struct {
	err  error
	name string
}{
	{net.ErrClosed, "net.ErrClosed"},
	{os.ErrDeadlineExceeded, "os.ErrDeadlineExceeded"},
	{io.EOF, "io.EOF"},
	{io.ErrUnexpectedEOF, "io.ErrUnexpectedEOF"},
	{syscall.ECONNRESET, "ECONNRESET"},
	{syscall.EPIPE, "EPIPE"},
	{syscall.ENOTCONN, "ENOTCONN"},
}

// errorClass says what err is, as errors.Is and net.Error tell, and the operation
// that a net.OpError names.
func errorClass(f family, err error) string {
	if err == nil {
		return "nil"
	}
	class := "other: " + err.Error()
	for _, c := range errorClasses {
		if errors.Is(err, c.err) {
			class = c.name
			break
		}
	}
	if op, ok := err.(*net.OpError); ok && !f.tls() { // whose errors have one or not
		class = op.Op + ": " + class
	}
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		class += ", a timeout"
	}
	return class
}

// playground is where scripts run, one at a time.
type playground struct {
	t testing.TB
	family
	loops   [2]*loop.Loop
	ln      net.Listener
	addrs   [2]net.Addr // of the loops' listeners
	arrived chan arrival
	client  *tls.Config
	server  *tls.Config
}

// arrival is a connection that a loop has accepted, and the call that ends its
// handler.
type arrival struct {
	c    *loop.Conn
	done func()
}

func newPlaygrounds(t testing.TB, f family, n int) []*playground {
	t.Helper()
	all := make([]*playground, n)
	for i := range all {
		all[i] = &playground{t: t, family: f, arrived: make(chan arrival, 1)}
		for j := range all[i].loops {
			// Closing lingers on a loop, and not in package net.
			all[i].loops[j] = looptest.NewIdle(t, loop.Config{LingerTimeout: -1})
		}
	}
	for _, p := range all {
		p.open()
	}
	return all
}

func (p *playground) open() {
	t, f := p.t, p.family
	listen := func() net.Listener {
		network, address := "tcp", "127.0.0.1:0"
		if f == familyUnix {
			network, address = "unix", filepath.Join(t.TempDir(), "s")
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	for i, l := range p.loops {
		looptest.Start(t, l)
		ln := listen()
		_, err := l.Serve(ln, loop.HandlerFunc(func(ctx context.Context, c *loop.Conn) error {
			return loop.Await(ctx, func(done func()) { p.arrived <- arrival{c, done} })
		}))
		if err != nil {
			t.Fatal(err)
		}
		p.addrs[i] = ln.Addr()
	}
	p.ln = listen()
	t.Cleanup(func() { p.ln.Close() })
	if f.tls() {
		version := uint16(tls.VersionTLS12)
		if f == familyTLS13 {
			version = tls.VersionTLS13
		}
		p.client, p.server = clientConfig(), serverConfig().Clone()
		// A client that has not read its tickets resets the connection when it
		// closes it.
		p.server.SessionTicketsDisabled = true
		p.client.InsecureSkipVerify = true // which is cheaper too
		for _, cfg := range []*tls.Config{p.client, p.server} {
			cfg.MinVersion, cfg.MaxVersion = version, version
			cfg.CurvePreferences = []tls.CurveID{tls.CurveP256} // the cheapest
		}
	}
}

// stream is a connection of either kind.
type stream interface {
	net.Conn
	CloseWrite() error
}

// socket is what is below a stream, or is one.
type socket interface {
	stream
	CloseRead() error
	SetWriteBuffer(int) error
}

// end is one end of a connection that a script runs on.
type end struct {
	c       stream
	raw     socket
	l       *loop.Loop // whose it is, nil for package net's
	done    func()     // ends the handler that has accepted it
	written int64      // bytes so far
	read    int64
	waits   [2]*started // a Read, a Write
}

// started is an operation that has begun.
type started struct {
	began  atomic.Bool
	result chan outcome
}

type outcome struct {
	n   int
	err error
}

// begin has f called by a job, or by a goroutine.
func (e *end) begin(f func() (int, error)) *started {
	s := &started{result: make(chan outcome, 1)}
	if e.l == nil {
		go func() {
			s.began.Store(true)
			n, err := f()
			s.result <- outcome{n, err}
		}()
		return s
	}
	err := e.l.Go(func(context.Context) error {
		o := outcome{err: looptest.ErrLeft}
		defer func() { s.result <- o }()
		o.n, o.err = f()
		return nil
	})
	if err != nil {
		s.result <- outcome{err: err}
	}
	return s
}

var errHangs = errors.New("nothing happens")

// wait returns what has become of an operation, which must end.
func (s *started) wait() outcome {
	select {
	case o := <-s.result:
		return o
	default:
	}
	timer := time.NewTimer(testkit.Patience)
	defer timer.Stop()
	select {
	case o := <-s.result:
		return o
	case <-timer.C:
		return outcome{0, errHangs}
	}
}

// sync waits until e's loop has done what it was asked for.
func (e *end) sync() {
	done := make(chan bool)
	if e.l != nil && e.l.Post(func() { close(done) }) == nil {
		<-done
	}
}

// settle waits until s, which has begun, waits.
func (e *end) settle(s *started, write bool) {
	if e.l != nil { // the first function is called before the job, the second after
		e.sync()
		e.sync()
		return
	}
	for !s.began.Load() {
		runtime.Gosched()
	}
	// Nothing tells that a goroutine waits.
	d := 15 * time.Microsecond
	if write {
		d = 200 * time.Microsecond
	}
	if testkit.RaceEnabled {
		d *= 5
	}
	for until := time.Now().Add(d); time.Now().Before(until); {
		runtime.Gosched()
	}
}

// connect returns both ends of a connection.
func (p *playground) connect(sc script, k kinds) (ends [2]*end, err error) {
	for i := range ends {
		ends[i] = &end{}
		if k[i] {
			n := sc.loopFirst
			if k[0] && k[1] && i == 1 && !sc.oneLoop {
				n = 1 - n
			}
			ends[i].l = p.loops[n]
		}
	}
	dialer, other := ends[sc.dials], ends[1-sc.dials]
	addr := p.ln.Addr()
	if other.l != nil {
		addr = p.addrs[slices.Index(p.loops[:], other.l)]
	}
	if dialer.l == nil {
		var c net.Conn
		if c, err = net.Dial(addr.Network(), addr.String()); err == nil {
			dialer.raw = c.(socket)
		}
	} else {
		dialed := make(chan error, 1)
		err = dialer.l.Go(func(ctx context.Context) error {
			c, err := loop.Dial(ctx, addr.Network(), addr.String())
			dialer.raw = c
			dialed <- err
			return nil
		})
		if err == nil {
			err = <-dialed
		}
	}
	if err != nil {
		return ends, err
	}
	if other.l == nil {
		var c net.Conn
		if c, err = p.ln.Accept(); err != nil {
			return ends, err
		}
		other.raw = c.(socket)
	} else {
		a := <-p.arrived
		other.raw, other.done = a.c, a.done
	}
	for i, e := range ends {
		e.c = e.raw
		if p.family.tls() {
			e.c = p.secure(e, i == sc.tlsClient)
		}
		if sc.big[i] && p.family != familyUnix { // where it is fixed anyway
			if o := e.begin(func() (int, error) { return 0, e.raw.SetWriteBuffer(64 << 10) }).wait(); o.err != nil {
				return ends, o.err
			}
		}
	}
	if p.family.tls() {
		var s [2]*started
		for i, e := range ends {
			s[i] = e.begin(func() (int, error) { return 0, e.c.(interface{ Handshake() error }).Handshake() })
		}
		for i := range s {
			err = errors.Join(err, s[i].wait().err)
		}
	}
	return ends, err
}

func (p *playground) secure(e *end, client bool) stream {
	switch c, ok := e.raw.(*loop.Conn); {
	case ok && client:
		return loop.TLSClient(c, p.client)
	case ok:
		return loop.TLSServer(c, p.server)
	case client:
		return tls.Client(e.raw, p.client)
	default:
		return tls.Server(e.raw, p.server)
	}
}

// run runs a script, and returns what came of each of its steps.
func (p *playground) run(sc script, k kinds) (results []string) {
	ends, err := p.connect(sc, k)
	defer p.release(ends)
	if err != nil {
		p.t.Errorf("%v, %v, seed %d: connecting: %v", sc.family, k, sc.seed, err)
		return nil
	}
	for _, s := range sc.steps {
		e := ends[s.end]
		if s.op == opReadWait || s.op == opWriteBig {
			write := s.op == opWriteBig
			w := e.begin(func() (int, error) { return e.do(s) })
			e.waits[index(write)] = w
			e.settle(w, write)
			results = append(results, "waits")
		} else {
			o := e.begin(func() (int, error) { return e.do(s) }).wait()
			if s.op == opClose || s.op == opReset {
				e.sync() // it does not wait
			}
			if s.op == opDrain && s.whole && e.read != ends[1-s.end].written {
				o.err = fmt.Errorf("%d bytes were written, and %d read; error %w", ends[1-s.end].written, e.read, o.err)
				results = append(results, o.err.Error())
			} else {
				results = append(results, o.string(p.family, s))
			}
			if o.err == errHangs {
				return append(results, errHangs.Error())
			}
		}
		for _, w := range s.ends {
			i := index(w.write)
			o := ends[w.end].waits[i].wait()
			if o.err == errHangs {
				return append(results, errHangs.Error())
			}
			ends[w.end].waits[i] = nil
			if w.any {
				results = append(results, "ends")
				continue
			}
			results = append(results, o.string(p.family, step{op: opReadOnce, vague: w.vague}))
		}
	}
	return results
}

func index(write bool) int {
	if write {
		return 1
	}
	return 0
}

// string says what came of a step.
func (o outcome) string(f family, s step) string {
	if f.tls() && s.op == opReadOnce && o.n > 0 && !s.vague {
		o.err = nil // TLSConn's Read tells it when there is nothing else
	}
	if f.tls() && (s.op == opClose || s.op == opReset) && !errors.Is(o.err, net.ErrClosed) {
		o.err = nil // TLSConn's Close does not wait to see its alert sent
	}
	n := fmt.Sprint(o.n)
	if s.vague {
		n = "some"
	}
	return n + ", " + errorClass(f, o.err)
}

// release resets the connection, if it is still open.
func (p *playground) release(ends [2]*end) {
	for _, e := range ends {
		if e.raw == nil || e.raw == socket((*loop.Conn)(nil)) {
			continue
		}
		end := func() {
			if c, ok := e.raw.(interface{ SetLinger(int) error }); ok {
				c.SetLinger(0)
			}
			e.raw.Close()
			if e.done != nil {
				e.done()
			}
		}
		if e.l == nil {
			end()
		} else {
			e.l.Post(end)
		}
	}
	for _, e := range ends {
		for _, w := range e.waits {
			if w != nil {
				w.wait()
			}
		}
	}
}

// pattern is what is written: byte i of a direction is pattern[i%patternPeriod].
var pattern = sync.OnceValue(func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, patternPeriod+scriptBig)
	for i := range b[:patternPeriod] {
		b[i] = byte(r.Uint32())
	}
	for i := patternPeriod; i < len(b); i++ {
		b[i] = b[i-patternPeriod]
	}
	return b
})

const patternPeriod = 65521 // a prime

func bytesAt(pos int64, n int) []byte { return pattern()[pos%patternPeriod:][:n] }

var (
	errWrongBytes = errors.New("the bytes are not those that were written")
	scratch       = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// do does a step, on the goroutine or in the job it is called in.
func (e *end) do(s step) (int, error) {
	switch s.op {
	case opWrite, opWriteBig:
		n, err := e.c.Write(bytesAt(e.written, s.n))
		e.written += int64(n)
		return n, err
	case opRead, opReadOnce, opReadWait, opDrain:
		return e.doRead(s)
	case opDeadline:
		set := map[string]func(time.Time) error{"read": e.c.SetReadDeadline, "write": e.c.SetWriteDeadline, "both": e.c.SetDeadline}
		var when time.Time
		switch s.what {
		case "past":
			when = time.Now().Add(-time.Second)
		case "far":
			when = time.Now().Add(time.Hour)
		case "soon":
			when = time.Now().Add(time.Millisecond)
		}
		return 0, set[s.sides](when)
	case opCloseWrite:
		return 0, e.c.CloseWrite()
	case opCloseRead:
		return 0, e.raw.CloseRead()
	case opReset:
		err := e.raw.(interface{ SetLinger(int) error }).SetLinger(0)
		return 0, errors.Join(err, e.c.Close())
	default:
		return 0, e.c.Close()
	}
}

func (e *end) doRead(s step) (done int, err error) {
	buf := scratch.Get().(*[32 << 10]byte)
	defer scratch.Put(buf)
	for {
		p := buf[:]
		if s.op != opDrain {
			p = buf[:min(len(buf), s.n-done)]
		}
		var n int
		if s.op == opRead {
			n, err = io.ReadFull(e.c, p)
		} else {
			n, err = e.c.Read(p)
		}
		if !bytes.Equal(p[:n], bytesAt(e.read, n)) {
			return done, errWrongBytes
		}
		e.read += int64(n)
		done += n
		if err != nil || s.op != opDrain && (s.op != opRead || done == s.n) {
			return done, err
		}
	}
}
