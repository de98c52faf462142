//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// probe is the process that measures how long one connection of an echo server
// waits for its answers. It sends a number at fixed moments, whether or not the
// answers to those before have come, and counts from the moment at which it
// should have been sent: a server that stands still for 10 ms is seen by ten
// probes of a millisecond's interval, and not by one.
//
// It is a thread that waits in ppoll(2), and not a goroutine in Go's network
// poller, whose timers are late by as much as is measured here.
type probe struct {
	Addr     string `arg:""`
	Interval time.Duration
	Warmup   time.Duration
	Duration time.Duration
}

// probeResult is what it found out.
type probeResult struct {
	Probes   int64         `json:"probes"`
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	P999     time.Duration `json:"p99_9_ns"`
	Max      time.Duration `json:"max_ns"`
	Late     time.Duration `json:"late_p99_ns"` // the probe itself, after the moment to send
	Realtime bool          `json:"realtime"`    // it went before all else on its core
}

const probeSize = 8 // bytes

func (p *probe) Run(context.Context) error {
	runtime.LockOSThread() // for good
	fd, err := p.connect()
	if err != nil {
		return fmt.Errorf("probe: connect to %s: %w", p.Addr, err)
	}
	defer unix.Close(fd)
	res := &probeResult{Realtime: realtime() == nil}
	if err := p.measure(fd, res); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

func (p *probe) connect() (fd int, err error) {
	addr, err := netip.ParseAddrPort(p.Addr)
	if err != nil {
		return 0, err
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// realtime puts this process before all ordinary ones of its core: the clients
// that load the server run there too. It takes all threads, those of Go's
// runtime as well (new ones inherit it): the probe's own waits for them after a
// system call at times.
func realtime() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		err = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has just ended
			return os.NewSyscallError("sched_setattr", err)
		}
	}
	return nil
}

// measure sends the probes and awaits all answers.
func (p *probe) measure(fd int, res *probeResult) error {
	times := newProbeTimes()
	first := uint64(p.Warmup / p.Interval) // that counts
	total := first + uint64(p.Duration/p.Interval)
	begin := time.Now()
	due := func(n uint64) time.Duration { return time.Duration(n) * p.Interval }

	var out [probeSize]byte
	in := make([]byte, 0, 512*probeSize)
	var sent, answered uint64
	for answered < total {
		now := time.Since(begin)
		for sent < total && due(sent) <= now {
			binary.BigEndian.PutUint64(out[:], sent)
			n, err := unix.Write(fd, out[:])
			if err == nil && n < probeSize {
				err = io.ErrShortWrite // so much is on its way already
			}
			if err != nil {
				return fmt.Errorf("send number %d of %d, %d are answered: %w", sent, total, answered, err)
			}
			if sent >= first {
				times.late(time.Since(begin) - due(sent))
			}
			sent++
		}
		wait := ioTimeout
		if sent < total {
			wait = max(due(sent)-time.Since(begin), 0)
		}
		ready, err := readable(fd, wait)
		if err != nil {
			return err
		}
		if !ready {
			if time.Since(begin) > due(total)+ioTimeout {
				return fmt.Errorf("%d of %d answers after %v", answered, total, ioTimeout)
			}
			continue
		}
		n, err := unix.Read(fd, in[len(in):cap(in)])
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 {
			return fmt.Errorf("after %d of %d answers: %w", answered, total, errors.Join(err, io.ErrUnexpectedEOF))
		}
		now = time.Since(begin)
		in = in[:len(in)+n]
		whole := 0
		for ; len(in)-whole >= probeSize; whole += probeSize {
			if got := binary.BigEndian.Uint64(in[whole:]); got != answered {
				return fmt.Errorf("answer %#x to number %d", got, answered)
			}
			if answered >= first {
				times.answer(now - due(answered))
			}
			answered++
		}
		in = in[:copy(in, in[whole:])]
	}
	times.sum(res)
	return nil
}

// probeTimes gathers what a probe measures.
type probeTimes struct{ answers, lateness *hdrhistogram.Histogram }

// maxProbeTime is where the histograms end; what takes longer counts as this.
const maxProbeTime = 10 * time.Minute

func newProbeTimes() *probeTimes {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxProbeTime.Microseconds(), 3) }
	return &probeTimes{h(), h()}
}

func recordProbe(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(d.Microseconds(), 1), maxProbeTime.Microseconds())) // cannot fail: it is in range
}

// answer records when an answer came, after the moment at which its probe was due.
func (t *probeTimes) answer(d time.Duration) { recordProbe(t.answers, d) }

// late records when a probe was sent, after the moment at which it was due.
func (t *probeTimes) late(d time.Duration) { recordProbe(t.lateness, d) }

// sum puts everything into a result.
func (t *probeTimes) sum(res *probeResult) {
	at := func(h *hdrhistogram.Histogram, percent float64) time.Duration {
		return time.Duration(h.ValueAtPercentile(percent)) * time.Microsecond
	}
	res.Probes = t.answers.TotalCount()
	res.P50, res.P99, res.P999 = at(t.answers, 50), at(t.answers, 99), at(t.answers, 99.9)
	res.Max = time.Duration(t.answers.Max()) * time.Microsecond
	res.Late = at(t.lateness, 99)
}

// readable waits until there is something to read, for a limited time.
func readable(fd int, limit time.Duration) (bool, error) {
	ts := unix.NsecToTimespec(limit.Nanoseconds())
	n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &ts, nil)
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return n > 0, os.NewSyscallError("ppoll", err)
}
