//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

// Every part's pictures can be drawn, whatever was not measured, and have names
// of their own.
func TestPlots(t *testing.T) {
	names := []string{"jobloop", "peer <&>", "failed"}
	r := new(report)
	plotSwitches(r, &switchResult{Ways: []switchWay{
		{Operation: "resume+pause", With: "jobs", NS: []float64{60, 70}}, {Operation: "resume+pause", With: "nothing"},
		{Operation: "start+finish", With: "jobs", NS: []float64{80}},
	}})
	ways := []string{wayCryptoRSA, goWayName(1), goWayName(2), goWayName(8), wayOpenSSL}
	plotSignatures(r, []string{"rsa2048", "rsa4096"}, ways, map[string]map[string][]*signed{
		"rsa2048": {wayCryptoRSA: {{Signatures: 10, CPU: time.Second}}, goWayName(2): {{Signatures: 10, CPU: time.Second}}},
	})
	plotIdle(r, names, []int{1000, 10000}, map[int]map[string][]*idleResult{1000: {"jobloop": {{Connections: 1000, RSSAfter: 5e6}}}})
	plotStorm(r, names, 5000, map[string][]*stormResult{"jobloop": {{PeakRSS: 1e6, Last: 1}, {PeakRSS: 3e6, Last: 2}}})
	plotRequests(r, names, map[string][]*requestResult{"jobloop": {{Rate: 1000}}})
	points := []*scalingPoint{
		{"rsa2048", 1, 1, map[string][]*scalingResult{"jobloop": {{All: 100, Elapsed: 1, ServerCPU: time.Second}}}},
		{"rsa2048", 100, 2, map[string][]*scalingResult{"jobloop": {{All: 100, Elapsed: 1, ServerCPU: time.Second}}}},
	}
	plotScaling(r, "rsa2048", names, points, points)
	plotScaling(r, "ecdsa-p256", names, nil, nil)
	open := &openRound{loadRound: loadRound{Load: &load.Result{Handshakes: 1, Latency: load.Percentiles{P50: 1000, P99: 9000}}}}
	plotHandshakes(r, []*handshakeResults{
		{combination{"rsa2048", "1.3", "full"}, names, map[string][]*handshakeRound{
			"jobloop":  {{Saturation: &loadRound{Load: &load.Result{Handshakes: 7}, ServerCPU: time.Second}, Half: open}},
			"peer <&>": {{Failed: "it"}},
		}},
		{combination{"rsa2048", "1.2", "full"}, names, nil},
		{combination{"ecdsa-p256", "1.2", "full"}, names, nil},
	})

	var all []string
	for _, p := range r.plots {
		all = append(all, p.name)
		svg, err := p.draw()
		if err != nil {
			t.Errorf("%s: %v", p.name, err)
			continue
		}
		text := new(strings.Builder)
		d := xml.NewDecoder(strings.NewReader(string(svg)))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s is no XML: %v", p.name, err)
				break
			}
			if c, ok := token.(xml.CharData); ok {
				text.Write(c)
			}
		}
		if s := text.String(); !strings.Contains(s, p.alt) || strings.Contains(s, "NaN") {
			t.Errorf("%s, which shows %q, says %q", p.name, p.alt, s)
		} else if strings.Contains(s, goWayName(2)) || p.name == "signatures" && !strings.Contains(s, goWayName(8)) {
			t.Errorf("%s has other ways than it should: %q", p.name, s)
		}
	}
	want := []string{
		"handshakes-cpu-ecdsa-p256", "handshakes-cpu-rsa2048", "handshakes-latency-rsa2048", "idle", "jobswitch-1", "jobswitch-2", "requests",
		"scaling-connections-ecdsa-p256", "scaling-connections-rsa2048", "scaling-threads-rsa2048", "signatures", "storm-memory", "storm-time",
	}
	if slices.Sort(all); !slices.Equal(all, want) {
		t.Errorf("pictures %q, want %q", all, want)
	}
}

// At an axis there is no use for zeros at the end.
func TestShortFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 50: "50", 26.56: "26.6", 0.0991: "0.099", 1.5: "1.5", 4603.2: "4603", 100: "100"} {
		if got := shortFigure(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
