//go:build linux

package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

// Probe is the process that measures how long one TLS connection waits for its
// answers while others load the server. It sends a request at fixed moments,
// whether or not the answers to those before have come, and counts from the
// moment at which it should have been sent. If a server
// stands still for 10 ms, ten probes at intervals of a millisecond notice it, and
// not just one.
//
// It is a thread that waits in ppoll(2), and not a goroutine in Go's network
// poller: that poller's timers are late by about as much time as is measured here.
type Probe struct {
	Addr     string `arg:""`
	Interval time.Duration
	Warmup   time.Duration
	Duration time.Duration
}

// ProbeResult is what it found out.
type ProbeResult struct {
	Probes   int64         `json:"probes"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	P999     time.Duration `json:"p99_9_ns"`
	Max      time.Duration `json:"max_ns"`
	Late     time.Duration `json:"late_p99_ns"` // how late the probe itself was in sending
	Realtime bool          `json:"realtime"`    // it had priority over all else on its core
}

// Milliseconds returns one of the times, or NaN if there is no result.
func (r *ProbeResult) Milliseconds(of func(*ProbeResult) time.Duration) float64 {
	if r == nil {
		return math.NaN()
	}
	return of(r).Seconds() * 1e3
}

// The times that tables show.
func ProbeP50(r *ProbeResult) time.Duration  { return r.P50 }
func ProbeP99(r *ProbeResult) time.Duration  { return r.P99 }
func ProbeP999(r *ProbeResult) time.Duration { return r.P999 }
func ProbeMax(r *ProbeResult) time.Duration  { return r.Max }

// Run connects, says that it is ready, measures, and prints a ProbeResult.
func (p *Probe) Run(context.Context) error {
	runtime.LockOSThread() // for good
	conn, raw, err := p.connect()
	if err != nil {
		return fmt.Errorf("connect to %s: %w", p.Addr, err)
	}
	defer raw.Close()
	res := &ProbeResult{Realtime: realtime() == nil}
	if err := process.SayReady(); err != nil {
		return err
	}
	if err := p.measure(conn, raw, res); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// connect makes the connection. Nobody else can have the server's address, so
// the certificate does not matter. Package net connects, and gives the descriptor
// up: closing its own takes the connection out of Go's network poller.
func (p *Probe) connect() (*tls.Conn, *polledConn, error) {
	c, err := (&net.Dialer{Timeout: IOTimeout, KeepAlive: -1}).Dial("tcp", p.Addr)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	raw := &polledConn{until: time.Now().Add(IOTimeout)}
	var derr error
	err = rc.Control(func(fd uintptr) { raw.fd, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = cmp.Or(err, os.NewSyscallError("fcntl", derr)); err != nil {
		return nil, nil, err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return conn, raw, nil
}

// realtime gives this process priority over all ordinary ones on its core, where
// the clients that load the server run too. It takes all threads, those of Go's runtime
// as well (new ones inherit it): the probe's own waits for them after a system
// call at times.
func realtime() error {
	threads, err := procfs.AllThreads(os.Getpid())
	if err != nil {
		return err
	}
	for _, t := range threads {
		err := unix.SchedSetAttr(t.PID, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has just ended
			return os.NewSyscallError("sched_setattr", err)
		}
	}
	return nil
}

// measure sends the requests and awaits all answers.
func (p *Probe) measure(conn *tls.Conn, raw *polledConn, res *ProbeResult) error {
	answered, late := newTimes(), newTimes()
	first := int(p.Warmup / p.Interval) // that counts
	total := first + int(p.Duration/p.Interval)
	due := func(n int) time.Duration { return time.Duration(n) * p.Interval }
	begin := time.Now()
	var a answers
	for sent, done := 0, 0; done < total; {
		for now := time.Since(begin); sent < total && due(sent) <= now; sent++ {
			raw.until = time.Now().Add(IOTimeout)
			if _, err := conn.Write(request); err != nil {
				return fmt.Errorf("send number %d of %d, %d are answered: %w", sent, total, done, err)
			}
			if sent >= first {
				late.add(time.Since(begin) - due(sent))
			}
		}
		raw.until = begin.Add(due(total) + IOTimeout)
		if sent < total {
			raw.until = begin.Add(due(sent))
		}
		n, err := a.read(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) && sent < total {
			continue
		}
		if err != nil {
			return fmt.Errorf("after %d of %d answers: %w", done, total, err)
		}
		now := time.Since(begin)
		if done+n > sent {
			return errors.New("an answer to nothing")
		}
		for ; n > 0; n-- {
			if done >= first {
				answered.add(now - due(done))
			}
			done++
		}
	}
	res.Probes = answered.TotalCount()
	res.P50, res.P99, res.P999, res.Max = answered.at(50), answered.at(99), answered.at(99.9), answered.at(100)
	res.Late = late.at(99)
	return nil
}

// times gathers what a probe measures.
type times struct{ *hdrhistogram.Histogram }

// maxTime is where the histograms end. What takes longer counts as this.
const maxTime = 10 * time.Minute

func newTimes() times { return times{hdrhistogram.New(1, maxTime.Microseconds(), 3)} }

func (t times) add(d time.Duration) {
	t.RecordValue(min(max(d.Microseconds(), 1), maxTime.Microseconds())) // cannot fail: it is in range
}

func (t times) at(percent float64) time.Duration {
	return time.Duration(t.ValueAtPercentile(percent)) * time.Microsecond
}

// polledConn is a connection whose reads and writes wait in ppoll(2), until a
// moment.
type polledConn struct {
	net.Conn // nil: crypto/tls needs no more of it than what is below
	fd       int
	until    time.Time
}

func (c *polledConn) Read(b []byte) (int, error) {
	n, err := c.wait("read", unix.POLLIN, func() (int, error) { return unix.Read(c.fd, b) })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *polledConn) Write(b []byte) (done int, err error) {
	for done < len(b) && err == nil {
		var n int
		n, err = c.wait("write", unix.POLLOUT, func() (int, error) { return unix.Write(c.fd, b[done:]) })
		done += n
	}
	return done, err
}

func (c *polledConn) Close() error { return unix.Close(c.fd) }

// wait makes a system call, again each time the kernel says that it can be made.
func (c *polledConn) wait(name string, events int16, call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return max(n, 0), os.NewSyscallError(name, err)
		}
		left := time.Until(c.until)
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded // as it is: crypto/tls takes it for one that passes
		}
		ts := unix.NsecToTimespec(left.Nanoseconds())
		if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("ppoll", err)
		}
	}
}

// Probing is a Probe that runs as a process.
type Probing struct{ *process.Talk }

// StartProbe starts a probe on a core, and returns when its connection is there.
func StartProbe(ctx context.Context, cpu int, p Probe) (*Probing, error) {
	t, err := process.StartTalk(ctx, cpu, "probe", p.Addr, "--interval", p.Interval.String(),
		"--warmup", p.Warmup.String(), "--duration", p.Duration.String())
	if err != nil {
		return nil, fmt.Errorf("the connection that is to be there before the load: %w", err)
	}
	return &Probing{t}, nil
}

// Result waits for the probe's end, and returns what it found out, or why it found
// out nothing. This is no error, because a server in overload may end an old
// connection.
func (p *Probing) Result() (res *ProbeResult, failed string) {
	res = new(ProbeResult)
	if err := p.Finish(res); err != nil {
		return nil, err.Error()
	}
	return res, ""
}
