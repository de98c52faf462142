package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/jobloop/jobloop/internal/load"
)

// Results of older programs have no version.
func TestReadWithoutVersion(t *testing.T) {
	old := result(400, 3000)
	old.Environment.Version = ""
	text, err := json.Marshal(old)
	if err != nil || bytes.Contains(text, []byte(`"version":"v`)) {
		t.Fatalf("error %v, a version in %s", err, text)
	}
	r, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if page := pageOf(t, Run{"old", r}); !strings.Contains(page, `<dd>2026-03-01 12:00:00 UTC</dd>`) || strings.Contains(page, "<dt>Tool</dt>") {
		t.Error("an old result's page does not say when, or says with which tool")
	}
	page := pageOf(t, Run{"old", r}, Run{"new", result(400, 3000)})
	if _, differ, _ := strings.Cut(page, "<h2>What differs</h2>"); !strings.Contains(differ, `tlsdemo</th><td class="short">–</td><td class="text">v1.2.3, commit`) {
		t.Error("the comparison does not show that only one result has a version")
	}
}

func TestRead(t *testing.T) {
	good, err := json.Marshal(failing())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := pageOf(t, Run{"x", r}), pageOf(t, Run{"x", failing()}); a != b {
		t.Error("what was read makes another page than what was written")
	}
	if _, err := Read(strings.NewReader(strings.Replace(string(good), "{", `{"of_a_later_version":1,`, 1))); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":           {" \n", "empty"},
		"text":              {"hello", "byte 1"},
		"cut off":           {string(good[:len(good)/2]), "unexpected end"},
		"two":               {string(good) + string(good), "after top-level value"},
		"a list":            {"[1]", "array"},
		"another":           {`{"handshakes": 1}`, `no "errors"`},
		"a key of null":     {regexp.MustCompile(`"latency_us":\{[^}]*\}`).ReplaceAllString(string(good), `"latency_us":null`), `no "latency_us"`},
		"a wrong value":     {strings.Replace(string(good), `"errors":2310`, `"errors":"many"`, 1), `"errors" is a JSON string`},
		"a negative one":    {strings.Replace(string(good), `"errors":2310`, `"errors":-5`, 1), `: errors: -5 is negative`},
		"a negative count":  {strings.Replace(string(good), `"refused":600`, `"refused":-600`, 1), `: errors_by_kind["refused"]: -600 is negative`},
		"a huge one":        {strings.Replace(string(good), `"duration_s":10`, `"duration_s":1e300`, 1), `: duration_s: 1e+300 is too large`},
		"a bad histogram":   {strings.Replace(string(good), "{", `{"histograms":{"tls":"HISTEwAAAAA="},`, 1), `: histograms.tls: not a compressed histogram`},
		"another schema":    {strings.Replace(string(good), `"schema":0`, `"schema":"2"`, 1), `"schema" is "\"2\""`},
		"a negative schema": {strings.Replace(string(good), `"schema":0`, `"schema":-1`, 1), `"schema" is "-1"`},
		"too many values":   {`{"series":[` + strings.Repeat("{},", maxValues) + `{}]}`, "more than 250000 values"},
		"many machines":     {strings.Replace(string(good), "{", `{"machines":[`+strings.Repeat("{},", load.MaxParts)+`{}],`, 1), ": machines: more than 1000"},
		"too long":          {strings.Repeat(" ", maxInput+1), "longer than"},
	} {
		if _, err := Read(strings.NewReader(c.text)); !errors.Is(err, ErrNoResult) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
}

// A newer tlsdemo may have given keys another meaning.
func TestReadOfNewerSchema(t *testing.T) {
	_, err := Read(strings.NewReader(`{"schema": 3, "of_that": "anything"}`))
	if err == nil || errors.Is(err, ErrNoResult) || !strings.Contains(err.Error(), "its schema is 3, and this tlsdemo reads up to 2") {
		t.Error(err)
	}
}

// Histograms whose number of samples is not that of the percentiles were made by nobody.
func TestReadComparesCounts(t *testing.T) {
	h := hdrhistogram.New(1, time.Hour.Microseconds(), load.Digits)
	h.RecordValue(5)
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	r := result(1, 5) // ten handshakes
	r.Histograms.Latency = load.Histogram(text)
	file, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(file)); !errors.Is(err, ErrNoResult) || !strings.Contains(err.Error(), "histograms.latency: it has 1 samples, 10 are counted") {
		t.Error(err)
	}
	r.Latency.Count = 1
	if file, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(file)); err != nil {
		t.Error(err)
	}
}

// Whatever Read accepts has a page, can be written and read again, and is merged or
// refused.
func FuzzRead(f *testing.F) {
	h := hdrhistogram.New(1, time.Hour.Microseconds(), load.SeriesDigits)
	h.RecordValues(1000, 100)
	interval, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		f.Fatal(err)
	}
	recent := result(1, 5)
	recent.Schema, recent.MeasuredFrom = load.Schema, recent.Started
	recent.Latency.Count, recent.Phases.Connect.Count, recent.Phases.TLS.Count = 0, 0, 0
	recent.Series = []load.Point{{At: -1, Length: .1, Handshakes: 100, Histogram: load.Histogram(interval)}}
	merged, err := load.Merge([]load.Part{{Name: "a", Result: recent}})
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range []*load.Result{failing(), swept(), empty(), hostile(), recent, merged} {
		r.Series = r.Series[:min(len(r.Series), 2)]
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if err := Write(io.Discard, []Run{{"x", r}}); err != nil {
			t.Errorf("its page: %v", err)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("it cannot be written: %v", err)
		}
		if _, err := Read(bytes.NewReader(again)); err != nil {
			t.Errorf("it cannot be read again: %v", err)
		}
		if merged, err := load.Merge([]load.Part{{Name: "x", Result: r}}); err == nil {
			if again, err = json.Marshal(merged); err != nil {
				t.Fatalf("what it is merged to cannot be written: %v", err)
			}
			if _, err := Read(bytes.NewReader(again)); err != nil {
				t.Errorf("what it is merged to cannot be read: %v", err)
			}
		}
	})
}
