//go:build linux

package scenario

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

// Pictures can be drawn, whatever was not measured.
func TestPlots(t *testing.T) {
	names := []string{"jobloop", "peer <&>", "failed"}
	r := &report.Report{Scenario: "all"}
	plotSwitches(r, &switchResult{Ways: []*switchWay{
		{Operation: resumePause, With: "jobs", NS: []float64{60, 70}}, {Operation: resumePause, With: "nothing"},
		{Operation: startFinish, With: "jobs", NS: []float64{80}},
	}})
	ways := []string{wayCryptoRSA, batchWay(1), batchWay(2), batchWay(8), wayOpenSSL}
	plotSignatures(r, []string{"rsa2048", "rsa4096"}, ways, map[string]map[string][]*signed{
		"rsa2048": {wayCryptoRSA: {{Signatures: 10, CPU: time.Second}}, batchWay(2): {{Signatures: 10, CPU: time.Second}}},
	})
	scaled := map[string][]*scalingResult{"jobloop": {{&load.Result{Total: load.Total{Handshakes: 100}, Duration: 1}, time.Second}}}
	points := []*scalingPoint{{"rsa2048", 1, 1, scaled}, {"rsa2048", 100, 2, scaled}}
	plotScaling(r, "rsa2048", names, points, points)
	plotScaling(r, "ecdsa-p256", names, nil, nil)
	round := saturated(7, 1, 0)
	round.Open["half"] = onSchedule(5, 5, 0, 9000)
	plotHandshakes(r, []*handshakeResults{
		{client.Full("rsa2048"), names, map[string][]*handshakeRound{"jobloop": {round}, "peer <&>": {{Failed: "it"}}}},
		{client.Kind{Key: "rsa2048", TLS: "1.2", Resume: "full"}, names, nil},
		{client.Full("ecdsa-p256"), names, nil},
	})

	dir := t.TempDir()
	if err := (&report.Outcome{Reports: []*report.Report{r}}).Write(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".svg")
		text := textOf(t, file)
		if text == "" || strings.Contains(text, "NaN") {
			t.Errorf("%s says %q", files[i], text)
		}
		if files[i] == "signatures" && (strings.Contains(text, batchWay(2)) || !strings.Contains(text, batchWay(8))) {
			t.Errorf("the picture of signatures has other ways than it should: %q", text)
		}
	}
	want := []string{
		"handshakes-cpu-ecdsa-p256", "handshakes-cpu-rsa2048", "handshakes-latency-rsa2048", "jobswitch-resume-pause", "jobswitch-start-finish",
		"scaling-connections-ecdsa-p256", "scaling-connections-rsa2048", "scaling-threads-rsa2048", "signatures",
	}
	if slices.Sort(files); !slices.Equal(files, want) {
		t.Errorf("pictures %q, want %q", files, want)
	}
}

// textOf returns the text of a picture, which must be XML.
func textOf(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("%s is no XML: %v", file, err)
		}
		if c, ok := token.(xml.CharData); ok {
			text.Write(c)
		}
	}
}
