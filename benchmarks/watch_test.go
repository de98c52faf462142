//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// ourselves is this process, as if it were a server.
func ourselves(t *testing.T, name string) *server {
	t.Helper()
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return &server{name: name, addr: "127.0.0.1:1", cmd: &exec.Cmd{Process: p}}
}

// measuredNow is the script of a load whose measured part was the second half of
// its time. %s is the rest of its result.
const measuredNow = `started=$(date -u +%%Y-%%m-%%dT%%H:%%M:%%S.%%NZ)
sleep 0.02
echo '{"started": "'$started'", "duration_s": 0.01, "series": [{"at_s": -0.01}], %s}'`

func TestLoadAndWatch(t *testing.T) {
	o := &options{ClientCPU: -1, ServerCPU: -1}
	r, err := o.loadAndWatch(t.Context(), fakeLoad(t, fmt.Sprintf(measuredNow, `"handshakes": 5, "handshakes_per_s": 500`)), ourselves(t, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Load.Handshakes != 5 || r.rate() != 500 || r.RSS[0] == 0 || r.RSS[1] == 0 || r.RSS[2] == 0 || r.ServerCPU < 0 || r.OtherCPU != 0 {
		t.Errorf("%+v", r)
	}
	late := fmt.Sprintf(measuredNow, `"handshakes": 5`)
	late = strings.Replace(late, `"duration_s": 0.01`, `"duration_s": 3600`, 1)
	if _, err := o.loadAndWatch(t.Context(), fakeLoad(t, late), ourselves(t, "x")); err == nil || !strings.Contains(err.Error(), "watched") {
		t.Errorf("a load that says that it ends in an hour: error %v", err)
	}
	if _, err := o.loadAndWatch(t.Context(), fakeLoad(t, "exit 2"), ourselves(t, "x")); err == nil {
		t.Error("no error of a load that failed")
	}
}

// The figures are those of the measured part, which begins and ends between
// samples.
func TestWatcherRound(t *testing.T) {
	t0 := time.Now()
	w := &watcher{core: 0}
	for i := range 11 { // half of a core from the second second on, and a tenth for others
		busy := time.Duration(max(i-1, 0)) * time.Second / 2
		w.samples = append(w.samples, usage{
			when: t0.Add(time.Duration(i) * time.Second),
			cpu:  busy, user: busy / 2, system: busy / 2,
			core:     busy + time.Duration(i)*time.Second/10,
			switches: int64(10 * i),
			rss:      int64(100 * i),
		})
	}
	res := &load.Result{Started: t0.Add(500 * time.Millisecond), Duration: 4.25, HandshakesPer: 1000, Series: []load.Point{{At: -2}, {At: 0}}}
	r, err := w.round(res)
	if err != nil {
		t.Fatal(err)
	}
	want := loadRound{
		Load: res, ServerCPU: 2125 * time.Millisecond, ServerUser: 1062500 * time.Microsecond, ServerSys: 1062500 * time.Microsecond,
		OtherCPU: 425 * time.Millisecond, Switches: 42, RSS: [3]int64{300, 500, 700},
	}
	if *r != want {
		t.Errorf("%+v, want %+v", *r, want)
	}
	if r.cpu() != 500 || r.busy() != 50 || r.otherBusy() != 10 {
		t.Errorf("%v µs each, %v %% busy, %v %% by others", r.cpu(), r.busy(), r.otherBusy())
	}
	for _, off := range []time.Duration{-3 * time.Second, 5 * time.Second} {
		other := *res
		other.Started = res.Started.Add(off)
		if _, err := w.round(&other); err == nil {
			t.Errorf("no error of a load at %v", off)
		}
	}
	w.core = -1
	if r, err := w.round(res); err != nil || r.OtherCPU != 0 {
		t.Errorf("other CPU time %v without a core of the server's own, %v", r.OtherCPU, err)
	}
}

func TestWatcherThins(t *testing.T) {
	w := new(watcher)
	for i := range maxSamples + 1 {
		w.samples = append(w.samples, usage{rss: int64(i)})
	}
	w.thin()
	if n := len(w.samples); n != maxSamples/2+1 || w.samples[0].rss != 0 || w.samples[1].rss != 2 || w.samples[n-1].rss != maxSamples {
		t.Errorf("%d samples: %d, %d ... %d", n, w.samples[0].rss, w.samples[1].rss, w.samples[n-1].rss)
	}
}
