//go:build linux

package client

import (
	"crypto/tls"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
)

func runProbe(t *testing.T, p *Probe) (*ProbeResult, error) {
	t.Helper()
	conn, raw, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	res := new(ProbeResult)
	return res, p.measure(conn, raw, res)
}

const probeAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A probe does not wait for an answer before it asks again. A server that stands
// still is seen by every request that was due meanwhile.
func TestProbeCountsFromTheMomentDue(t *testing.T) {
	const n = 30
	target := serving(t, true, func(c net.Conn) {
		if err := requests(c, n); err != nil { // it has no answer before the last is asked for
			t.Error(err)
			return
		}
		answers := strings.Repeat(probeAnswer, n)
		for len(answers) > 0 { // in pieces that are no answers
			piece := answers[:min(len(answers), 17)]
			io.WriteString(c, piece)
			answers = answers[len(piece):]
		}
		io.Copy(io.Discard, c)
	})
	res, err := runProbe(t, &Probe{Addr: target.Addr, Interval: 2 * time.Millisecond, Warmup: 20 * time.Millisecond, Duration: 40 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// Number 10 is the first that counts. It was due at 20 ms, and has waited for
	// number 29, at 58 ms. The histogram is exact to a thousandth.
	if res.Probes != n-10 || res.Max < 37*time.Millisecond || res.P50 > res.P99 || res.P99 > res.Max+res.Max/500 {
		t.Errorf("%+v of %d requests of which the first waited for the last", res, n)
	}
}

func TestProbeFails(t *testing.T) {
	for want, answer := range map[string]string{
		"HTTP/1.1 503":                  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"an answer to nothing":          strings.Repeat(probeAnswer, 6),
		"after 1 of 5 answers: EOF":     probeAnswer,
		"answer without Content-Length": "HTTP/1.1 200 OK\r\n\r\n",
		"after 0 of 5 answers: EOF":     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken",
	} {
		target := serving(t, true, func(c net.Conn) {
			requests(c, 1)
			io.WriteString(c, answer)
			if strings.Contains(want, "EOF") {
				c.(*tls.Conn).CloseWrite()
			}
			io.Copy(io.Discard, c)
		})
		_, err := runProbe(t, &Probe{Addr: target.Addr, Interval: time.Millisecond, Duration: 5 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// The process tells what it found out, or why it has found out nothing.
func TestStartProbe(t *testing.T) {
	_, target := answering(t)
	p := Probe{Addr: target.Addr, Interval: 100 * time.Microsecond, Warmup: time.Millisecond, Duration: 5 * time.Millisecond}
	probing, err := StartProbe(t.Context(), process.AnyCPU, p)
	if err != nil {
		t.Fatal(err)
	}
	res, failed := probing.Result()
	if failed != "" || res.Probes != 50 || res.P50 <= 0 || res.P50 > res.P99 || res.P99 > res.P999 || res.P999 > res.Max || res.Late <= 0 {
		t.Errorf("%+v, %q, want 50 probes", res, failed)
	}
	p.Addr = serving(t, true, func(c net.Conn) { requests(c, 3) }).Addr
	if probing, err = StartProbe(t.Context(), process.AnyCPU, p); err != nil {
		t.Fatal(err)
	}
	if res, failed := probing.Result(); res != nil || !strings.Contains(failed, "after 0 of 60 answers") && !strings.Contains(failed, "are answered: ") {
		t.Errorf("of a server that ends: %+v, %q", res, failed)
	}
	p.Addr = "127.0.0.1:1"
	if _, err := StartProbe(t.Context(), process.AnyCPU, p); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
}

func TestMilliseconds(t *testing.T) {
	r := &ProbeResult{P50: time.Millisecond, P99: 2 * time.Millisecond, P999: 3 * time.Millisecond, Max: 4500 * time.Microsecond}
	for want, of := range map[float64]func(*ProbeResult) time.Duration{1: ProbeP50, 2: ProbeP99, 3: ProbeP999, 4.5: ProbeMax} {
		if got := r.Milliseconds(of); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got := (*ProbeResult)(nil).Milliseconds(ProbeP50); !math.IsNaN(got) {
		t.Errorf("%v of nothing", got)
	}
}
