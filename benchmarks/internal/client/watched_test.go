//go:build linux

package client

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/internal/load"
)

// ourselves is this process, as if it were a server.
func ourselves() Server { return Server{PID: os.Getpid(), CPU: process.AnyCPU} }

// measuredNow is the script of a load whose measured part was the second half of
// its time. %s is the rest of its result.
const measuredNow = `started=$(date -u +%%Y-%%m-%%dT%%H:%%M:%%S.%%NZ)
sleep 0.02
echo '{"started": "'$started'", "duration_s": 0.01, "series": [{"at_s": -0.01}], %s}'`

func TestRunWatched(t *testing.T) {
	r, err := fakeLoad(t, fmt.Sprintf(measuredNow, `"handshakes": 5, "handshakes_per_s": 500`)).RunWatched(t.Context(), ourselves())
	if err != nil {
		t.Fatal(err)
	}
	if r.Load.Handshakes != 5 || r.Rate() != 500 || r.Elapsed != 10*time.Millisecond || r.RSS[0] == 0 || r.RSS[1] == 0 || r.RSS[2] == 0 || r.ServerCPU < 0 || r.OtherCPU != 0 {
		t.Errorf("%+v", r)
	}
	if r.Trim(); r.Load.Series != nil {
		t.Error("the series was kept")
	}
	late := strings.Replace(fmt.Sprintf(measuredNow, `"handshakes": 5`), `"duration_s": 0.01`, `"duration_s": 3600`, 1)
	if _, err := fakeLoad(t, late).RunWatched(t.Context(), ourselves()); err == nil || !strings.Contains(err.Error(), "watched") {
		t.Errorf("a load that says that it ends in an hour: error %v", err)
	}
	if _, err := fakeLoad(t, "exit 2").RunWatched(t.Context(), ourselves()); err == nil {
		t.Error("no error of a load that failed")
	}
}

// The server is watched from before the load's beginning to after its end.
func TestWatch(t *testing.T) {
	begin := time.Now()
	w, err := Watch(t.Context(), ourselves(), process.AnyCPU, func() (time.Time, time.Time, error) {
		begin = time.Now()
		for time.Since(begin) < 10*time.Millisecond {
		}
		return begin, time.Now(), nil
	})
	if err != nil || w.Elapsed < 10*time.Millisecond || w.ServerCPU <= 0 || w.Busy() <= 0 {
		t.Errorf("%+v, %v", w, err)
	}
	wrong := errors.New("wrong")
	if _, err := Watch(t.Context(), ourselves(), process.AnyCPU, func() (b, e time.Time, err error) { return b, e, wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
	if _, err := Watch(t.Context(), Server{PID: 1<<22 + 1}, process.AnyCPU, nil); err == nil {
		t.Error("no error of a server that is not there")
	}
}

func TestMeasuredPart(t *testing.T) {
	t0 := time.Now()
	res := &load.Result{Started: t0, Duration: 4.25, Series: []load.Point{{At: -2}, {At: 0}}}
	if begin, end := MeasuredPart(res); !begin.Equal(t0.Add(2*time.Second)) || !end.Equal(t0.Add(6250*time.Millisecond)) {
		t.Errorf("%v to %v after the start", begin.Sub(t0), end.Sub(t0))
	}
	res.Series = nil
	if begin, _ := MeasuredPart(res); !begin.Equal(t0) {
		t.Errorf("without a series it begins %v after the start", begin.Sub(t0))
	}
}

func TestLoaded(t *testing.T) {
	l := &Loaded{
		Load:    &load.Result{HandshakesPer: 1000, Latency: load.Percentiles{Count: 1, P50: 1500, P99: 2500, Max: 3500}, Client: load.Client{Busy: 0.5}},
		Watched: Watched{Elapsed: 4250 * time.Millisecond, ServerCPU: 2125 * time.Millisecond, OtherCPU: 425 * time.Millisecond},
	}
	for i, figure := range [][2]float64{
		{l.CPU(), 500}, {l.Busy(), 50}, {l.OtherBusy(), 10}, {l.ClientBusy(), 50}, {l.P50(), 1.5}, {l.P99(), 2.5}, {l.Max(), 3.5},
	} {
		if figure[0] != figure[1] {
			t.Errorf("figure %d is %v, want %v", i, figure[0], figure[1])
		}
	}
	if l.ClientFull() {
		t.Error("a client that is half busy is full")
	}
	if l.Load.Client.Busy = load.BusyLimit; !l.ClientFull() {
		t.Error("a client that is at its limit is not full")
	}
	if l.Load.Latency.Count = 0; !math.IsNaN(l.P50()) {
		t.Error("a latency of no handshakes")
	}
}
