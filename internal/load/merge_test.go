package load

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file tests that results are merged without loss.

// noon is a multiple of every short interval since 1970.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fake is a run that makes no connections.
type fake struct {
	*run
	rec *recorder
}

// newFake returns a run that begins at a time and measures for ten seconds, after a
// second.
func newFake(begin time.Time) *fake {
	cfg := &Config{Targets: []string{"server:443"}, Rate: 100, Count: 1}
	f := &fake{&run{cfg: cfg, begin: begin, series: newSeries(begin), kinds: map[string]int64{}}, newRecorder(0)}
	return f
}

// finish returns the result, as another process reads it.
func (f *fake) finish(t testing.TB) *Result {
	t.Helper()
	start := f.begin.Add(time.Second)
	s := &stage{rate: 100, start: start, end: start.Add(10 * time.Second)}
	res := f.result(&measured{rec: f.rec, stage: s, ended: s.end})
	res.Settings = Settings{Command: "tlsdemo load server:443", Flags: map[string]string{"rate": "100"}}
	return reread(t, res)
}

// reread returns the result as it is after writing and reading it.
func reread(t testing.TB, res *Result) *Result {
	t.Helper()
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	back := new(Result)
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	if err := back.Check(); err != nil {
		t.Fatalf("a result's own check: %v", err)
	}
	return back
}

// partsOf gives results the names a, b, c and so on.
func partsOf(results ...*Result) []Part {
	parts := make([]Part, len(results))
	for i, r := range results {
		parts[i] = Part{string(rune('a' + i)), r}
	}
	return parts
}

func mustMerge(t testing.TB, parts ...Part) *Result {
	t.Helper()
	res, err := Merge(parts)
	if err != nil {
		t.Fatal(err)
	}
	return reread(t, res)
}

func wantDeep(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// sample is a random time of one of several shapes, with extremes.
func sample(random *rand.Rand) time.Duration {
	switch random.IntN(20) {
	case 0:
		return 0
	case 1:
		return 2 * maxLatency
	case 2:
		return time.Duration(random.Int64N(int64(maxLatency)))
	}
	return time.Duration(random.ExpFloat64() * float64(5*time.Millisecond))
}

// The samples of one run are dealt to several. Merged, these are the one run again, to
// the last bit.
func TestMergeIsOneRun(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		whole, shards := newFake(noon), make([]*fake, 1+random.IntN(5))
		for i := range shards {
			shards[i] = newFake(noon)
		}
		for range random.IntN(60) {
			shard := shards[random.IntN(len(shards))]
			in := interval{latency: newHistogram(SeriesDigits), errors: random.Int64N(2)}
			for range random.IntN(50) {
				total, parts := sample(random), [5]time.Duration{sample(random), sample(random), sample(random), sample(random), sample(random)}
				some := random.IntN(2) == 0 // of them have an answer, or give up
				in.handshakes++
				record(in.latency, total)
				for _, f := range []*fake{whole, shard} {
					f.rec.handshakes++
					record(f.rec.latency, total)
					for i, h := range []*hdrhistogram.Histogram{f.rec.connect, f.rec.tls, f.rec.delay, f.rec.gaveUp, f.rec.firstByte} {
						if i < 3 || some {
							record(h, parts[i])
						}
					}
				}
			}
			at := noon.Add(time.Duration(random.Int64N(int64(11 * time.Second))))
			whole.series.add(at, &in)
			shard.series.add(at, &in)
		}
		var parts []*Result
		for i, f := range shards {
			parts = append(parts, f.finish(t))
			parts[i].Environment.Host = fmt.Sprint(i)
		}
		got, want := mustMerge(t, partsOf(parts...)...), whole.finish(t)
		wantDeep(t, "latency", got.Latency, want.Latency)
		wantDeep(t, "phases", got.Phases, want.Phases)
		wantDeep(t, "start delay", got.StartDelay, want.StartDelay)
		wantDeep(t, "gave up after", got.GaveUpAfter, want.GaveUpAfter)
		wantDeep(t, "distribution", got.Distribution, want.Distribution)
		wantDeep(t, "histograms", got.Histograms, want.Histograms)
		wantDeep(t, "series", got.Series, want.Series)
		wantDeep(t, "handshakes", got.Handshakes, want.Handshakes)
		wantDeep(t, "duration", got.Duration, want.Duration)
		if t.Failed() {
			t.Fatalf("seed %d, %d shards", seed, len(shards))
		}
	}
}

// Whichever results are merged first, the last result is the same.
func TestMergeInSteps(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var all []Part
	for i := range 4 {
		f := newFake(noon.Add(time.Duration(i) * 333333333 * time.Nanosecond))
		for range 60 {
			in := interval{latency: newHistogram(SeriesDigits), handshakes: 1, inFlight: random.IntN(100)}
			took := sample(random)
			record(in.latency, took)
			f.series.add(f.begin.Add(time.Duration(random.Int64N(int64(11*time.Second)))), &in)
			record(f.rec.latency, took)
			f.rec.inTime++
		}
		f.rec.fail([]string{"reset", "timeout"}[i%2], fmt.Sprint("example ", i), int64(i))
		r := f.finish(t)
		r.Warnings = []string{"something"}
		r.Settings.Flags["curve"] = []string{"X25519", "P-256"}[i%2]
		all = append(all, Part{fmt.Sprint("m", i), r})
	}
	once := mustMerge(t, all...)
	first := Part{"first", mustMerge(t, all[:2]...)}
	for name, steps := range map[string][]Part{
		"one":        {{"all", once}},
		"two of two": {first, {"second", mustMerge(t, all[2:]...)}},
		"one by one": {{"third", mustMerge(t, first, all[2])}, all[3]},
	} {
		wantDeep(t, name, mustMerge(t, steps...), once)
	}
	want(t, "machines", len(once.Machines), 4)
}

func TestMergeAddsCounts(t *testing.T) {
	result := func(n int64) *Result {
		r := newFake(noon).finish(t)
		r.Environment = Environment{Host: fmt.Sprint("host", n), Cores: 2, OS: "linux"}
		r.Handshakes, r.Errors, r.NotBegun, r.BytesRead, r.BytesWritten, r.MaxInFlight = n, 2*n, n, 3*n, 4*n, int(5*n)
		r.HandshakesPer = float64(n) / 10
		r.ErrorsByKind = map[string]int64{"reset": n, fmt.Sprint("status ", n): n}
		r.ErrorExamples = map[string]string{"reset": fmt.Sprint("reset by ", n)}
		r.Negotiated = []Negotiated{{Version: "TLS 1.3", Handshakes: n}, {Version: fmt.Sprint(n), Handshakes: 1}}
		r.Certificates = []Certificate{{SHA256: "aa", Handshakes: n}, {SHA256: fmt.Sprint(n), Handshakes: 1}}
		r.Targets = []Target{{Target: "server:443", Address: "192.0.2.1:443", Handshakes: n, Errors: n}, {Target: "server:443", Address: fmt.Sprint("192.0.2.", n, ":443"), Handshakes: 1}}
		r.Held, r.Aborted = n, map[string]int64{"connected": n, fmt.Sprint("phase ", n): 1}
		r.Client = Client{CPU: float64(n), Busy: float64(n) / 10, Loops: int(n), MaxRSS: 100 * n}
		r.Total = Total{Begun: n, Handshakes: n, Resumed: n, Requests: n, Errors: n, GaveUp: n, Canceled: n, OldestCanceled: n, Probes: n, Aborted: map[string]int64{"connected": n}}
		return r
	}
	got := mustMerge(t, partsOf(result(3), result(5))...)
	want(t, "handshakes", got.Handshakes, 8)
	want(t, "errors", got.Errors, 16)
	want(t, "not begun", got.NotBegun, 8)
	want(t, "read", got.BytesRead, 24)
	want(t, "written", got.BytesWritten, 32)
	want(t, "in flight", got.MaxInFlight, 40)
	want(t, "rate", got.HandshakesPer, 0.8)
	wantDeep(t, "kinds", got.ErrorsByKind, map[string]int64{"reset": 8, "status 3": 3, "status 5": 5})
	wantDeep(t, "examples", got.ErrorExamples, map[string]string{"reset": "reset by 3"})
	wantDeep(t, "negotiated", got.Negotiated, []Negotiated{{Version: "TLS 1.3", Handshakes: 8}, {Version: "3", Handshakes: 1}, {Version: "5", Handshakes: 1}})
	wantDeep(t, "certificates", got.Certificates, []Certificate{{SHA256: "aa", Handshakes: 8}, {SHA256: "3", Handshakes: 1}, {SHA256: "5", Handshakes: 1}})
	wantDeep(t, "targets", got.Targets, []Target{
		{Target: "server:443", Address: "192.0.2.1:443", Handshakes: 8, Errors: 8},
		{Target: "server:443", Address: "192.0.2.3:443", Handshakes: 1}, {Target: "server:443", Address: "192.0.2.5:443", Handshakes: 1},
	})
	want(t, "client", got.Client, Client{CPU: 8, CPUPerHandshake: 1e6, Busy: 0.5, Loops: 8, MaxRSS: 500})
	wantDeep(t, "total", got.Total, Total{Begun: 8, Handshakes: 8, Resumed: 8, Requests: 8, Errors: 8, GaveUp: 8, Canceled: 8, OldestCanceled: 5, Probes: 8, Aborted: map[string]int64{"connected": 8}})
	want(t, "held", got.Held, 8)
	wantDeep(t, "aborted", got.Aborted, map[string]int64{"connected": 8, "phase 3": 1, "phase 5": 1})
	want(t, "rate asked for", got.Settings.Flags["rate"], "200")
	want(t, "environment", got.Environment, Environment{Host: "host3, host5", Cores: 4, OS: "linux"})
	want(t, "warnings", len(got.Warnings), 0)
	want(t, "name of the second", got.Machines[1].Name, "b")
	want(t, "rate of the second", got.Machines[1].HandshakesPer, 0.5)
}

// A key of a result that no merge mentions would be lost.
func TestMergeForgetsNoKey(t *testing.T) {
	f := newFake(noon)
	for _, h := range []*hdrhistogram.Histogram{f.rec.latency, f.rec.connect, f.rec.tls, f.rec.firstByte, f.rec.delay, f.rec.gaveUp, f.rec.heldEnded} {
		record(h, time.Second)
	}
	in := interval{errors: 1, latency: newHistogram(SeriesDigits)}
	f.series.add(noon, &in)
	r := f.finish(t)
	r.HandshakesPer, r.Stopped = 1, "stopped"
	r.Negotiated, r.Certificates, r.Targets = []Negotiated{{Handshakes: 1}}, []Certificate{{Handshakes: 1}}, []Target{{Errors: 1}}
	fill(valueOf(r))
	r.Sweep = nil
	for _, key := range zeros("", valueOf(mustMerge(t, partsOf(r)...))) {
		if key != ".Sweep" && key != ".Unmet" { // thresholds are each machine's own
			t.Errorf("%s is lost", key)
		}
	}
}

// fill sets zero fields of a result to something else.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]() || f.Type() == reflect.TypeFor[Histograms]():
		case f.Kind() == reflect.Struct:
			fill(f)
		case !f.IsZero() && !(f.Kind() == reflect.Map && f.Len() == 0):
		case f.CanInt():
			f.SetInt(1)
		case f.CanFloat():
			f.SetFloat(1)
		case f.Kind() == reflect.String:
			f.SetString("text")
		case f.Kind() == reflect.Map:
			m := reflect.MakeMap(f.Type())
			m.SetMapIndex(reflect.ValueOf("key"), reflect.New(f.Type().Elem()).Elem())
			f.Set(m)
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf([]string{"text"}))
		case f.Kind() == reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		}
	}
}

// zeros names the fields that are zero or empty.
func zeros(name string, v reflect.Value) []string {
	var names []string
	for i := range v.NumField() {
		f, name := v.Field(i), name+"."+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]():
			names = append(names, zeros(name, f)...)
		case f.IsZero(), (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() == 0:
			names = append(names, name)
		}
	}
	return names
}

// A target's histograms are merged if every result has them.
func TestMergeTargets(t *testing.T) {
	result := func(i int, took ...time.Duration) *Result {
		f, h := newFake(noon.Add(time.Duration(i))), newHistogram(Digits)
		for _, d := range took {
			record(h, d)
		}
		r := f.finish(t)
		r.Targets = []Target{{Target: "a", Handshakes: int64(len(took)), Histogram: encode(h)}}
		return r
	}
	a, b := result(1, time.Millisecond, time.Second), result(2, time.Minute)
	h, err := mustMerge(t, partsOf(a, b)...).Targets[0].Histogram.Decode(Digits)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "samples", h.TotalCount(), 3)
	want(t, "p50", percentiles(h).P50, 1_000_447)
	b.Targets[0].Histogram = ""
	want(t, "histogram of some", mustMerge(t, partsOf(a, b)...).Targets[0].Histogram, "")
}

func TestMergeSeries(t *testing.T) {
	// points makes a result with intervals at the given times after noon.
	made := 0
	points := func(length time.Duration, at ...time.Duration) *Result {
		made++
		r := newFake(noon.Add(time.Duration(made) * time.Second)).finish(t)
		r.Series = nil
		for _, d := range at {
			h := newHistogram(SeriesDigits)
			record(h, length)
			r.Series = append(r.Series, Point{At: noon.Add(d).Sub(r.MeasuredFrom).Seconds(), Length: length.Seconds(), Handshakes: 1, Errors: 2, InFlight: 3, Histogram: encode(h)})
		}
		return r
	}
	const ms = time.Millisecond
	hours := make([]time.Duration, 300)
	for i := range hours {
		hours[i] = time.Duration(i) * time.Hour
	}
	for name, c := range map[string]struct {
		parts []*Result
		want  string // time after noon, length, handshakes and connections of each
	}{
		"none":            {[]*Result{points(100*ms, []time.Duration{}...)}, ""},
		"the same":        {[]*Result{points(100*ms, 0, 100*ms), points(100*ms, 0)}, "0s 100ms 2 6, 100ms 100ms 1 3"},
		"a little apart":  {[]*Result{points(100*ms, 10*ms, 110*ms), points(100*ms, -49*ms)}, "0s 100ms 2 6, 100ms 100ms 1 3"},
		"longer ones":     {[]*Result{points(100*ms, 0, 100*ms, 200*ms), points(200*ms, 0)}, "0s 200ms 3 6, 200ms 200ms 1 3"},
		"of other length": {[]*Result{points(300*ms, 0), points(100*ms, 500*ms)}, "0s 400ms 1 3, 400ms 400ms 1 3"},
		"with a gap":      {[]*Result{points(100*ms, 0), points(100*ms, time.Hour, time.Hour+100*ms)}, "0s 100ms 1 3, 1h0m0s 100ms 1 3, 1h0m0.1s 100ms 1 3"},
	} {
		got := mustMerge(t, partsOf(c.parts...)...)
		var texts []string
		for _, p := range got.Series {
			want(t, name+": errors", p.Errors, 2*p.Handshakes)
			at := got.MeasuredFrom.Add(seconds(p.At)).Sub(noon)
			texts = append(texts, fmt.Sprint(at, seconds(p.Length), p.Handshakes, p.InFlight))
		}
		want(t, name, strings.Join(texts, ", "), c.want)
	}
	// More than maxPoints at different times: they become fewer, and none is lost.
	got := mustMerge(t, partsOf(points(100*ms, hours...), points(100*ms, 500*time.Hour), points(100*ms, 600*time.Hour, 700*time.Hour))...)
	sum := int64(0)
	for _, p := range got.Series {
		sum += p.Handshakes
	}
	want(t, "handshakes", sum, 303)
	if n := len(got.Series); n > maxPoints || n < maxPoints/3 {
		t.Errorf("%d intervals", n)
	}
}

func TestMergeWarns(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a, b, c *Result)
		want   []string // beginnings of the warnings
	}{
		"alike":         {func(a, b, c *Result) {}, nil},
		"a little late": {func(a, b, c *Result) { b.MeasuredFrom = b.MeasuredFrom.Add(500 * time.Millisecond) }, nil},
		"late": {func(a, b, c *Result) { b.MeasuredFrom = b.MeasuredFrom.Add(4 * time.Second) },
			[]string{"the measured parts overlap for only 6s of 14s: a began first, b 4s later, and a ended first. The rate adds"}},
		"shorter": {func(a, b, c *Result) { b.Duration = 5 },
			[]string{"the measured parts overlap for only 5s of 10s: a began first, a 0s later, and b ended first."}},
		"apart": {func(a, b, c *Result) { c.MeasuredFrom = c.MeasuredFrom.Add(12 * time.Second) },
			[]string{"the measured parts do not overlap: c began 2s after a had ended."}},
		"measured nothing": {func(a, b, c *Result) {
			b.MeasuredFrom, b.Duration, b.Stopped = b.MeasuredFrom.Add(time.Minute), 0, Interrupted
		}, []string{"not all ran to their end: interrupted (b)."}},
		"stopped": {func(a, b, c *Result) {
			a.Stopped, b.Stopped, c.Stopped = Interrupted, "out of descriptors", Interrupted
		},
			[]string{"not all ran to their end: interrupted (a, c), out of descriptors (b)."}},
		"flags": {func(a, b, c *Result) { b.Settings.Flags["curve"], b.Settings.Flags["rate"] = "P-256", "50" },
			[]string{"--curve differs: not set in a, c; P-256 in b.", "--rate differs: 100 in a, c; 50 in b."}},
		"own flags": {func(a, b, c *Result) { b.Settings.Flags["source"] = "192.0.2.1" }, nil},
		"targets":   {func(a, b, c *Result) { b.Targets = []Target{{Target: "x:1"}} }, []string{"the targets differ: not set in a, c; x:1 in b."}},
		"versions":  {func(a, b, c *Result) { b.Environment.Version = "v2" }, []string{"the versions of tlsdemo differ: "}},
		"their own": {func(a, b, c *Result) { b.Warnings, c.Warnings = []string{"one", "two"}, []string{"one"} }, []string{"b: one", "b: two", "c: one"}},
	} {
		var results []*Result
		for i := range 3 {
			r := newFake(noon).finish(t)
			r.Environment.Host = fmt.Sprint(i)
			results = append(results, r)
		}
		c.change(results[0], results[1], results[2])
		got := mustMerge(t, partsOf(results...)...)
		if !slices.EqualFunc(got.Warnings, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got.Warnings, c.want)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	good := func(i int) *Result {
		f := newFake(noon.Add(time.Duration(i)))
		record(f.rec.latency, time.Second)
		in := interval{handshakes: 1, latency: newHistogram(SeriesDigits)}
		record(in.latency, time.Second)
		f.series.add(noon, &in)
		return f.finish(t)
	}
	with := func(change func(*Result)) []*Result {
		r := good(1)
		change(r)
		return []*Result{good(0), r}
	}
	for name, c := range map[string]struct {
		results []*Result
		says    string
	}{
		"none":             {nil, "0 results, 1 to 1000 can be merged"},
		"an old one":       {with(func(r *Result) { r.Schema = 0 }), "b: an older tlsdemo made it, without the histograms"},
		"a sweep":          {with(func(r *Result) { r.Sweep = new(Sweep) }), "b: it is a sweep: "},
		"no histogram":     {with(func(r *Result) { r.Histograms.Latency = "" }), "b: histograms.latency: it is missing"},
		"no interval's":    {with(func(r *Result) { r.Series[0].Histogram = "" }), "b: series[0].histogram: it is missing"},
		"a bad one":        {with(func(r *Result) { r.Series[0].Histogram = "?" }), "b: series[0].histogram: not base64"},
		"a negative count": {with(func(r *Result) { r.Total.Begun = -1 }), "b: total.begun: -1 is negative"},
		"an overflow":      {with(func(r *Result) { r.Errors = maxNumber; r.ErrorsByKind["x"] = maxNumber + 1 }), `b: errors_by_kind["x"]: 9007199254740993 is too large`},
		"a sum":            {with(func(r *Result) { r.BytesRead = maxNumber }), ""},
		"a year later":     {with(func(r *Result) { r.MeasuredFrom = r.MeasuredFrom.AddDate(1, 0, 2) }), "b was measured more than a year after a"},
		"long ago":         {with(func(r *Result) { r.Duration, r.MeasuredFrom = 0, r.MeasuredFrom.AddDate(-2, 0, 0) }), "the sum of all: series[0]: an interval of"},
		"no time":          {with(func(r *Result) { r.MeasuredFrom = time.Time{} }), "b: measured_from: 0001-01-01"},
		"a long one":       {with(func(r *Result) { r.Duration = maxNumber }), "b: duration_s: 9.007199254740992e+15 is more than a year"},
		"a long interval":  {with(func(r *Result) { r.Series[0].Length = 1e12 }), "b: series[0]: an interval of 1e+12 s"},
		"no interval":      {with(func(r *Result) { r.Series[0].Length = 0 }), "b: series[0]: an interval of 0 s"},
		"twice":            {[]*Result{good(1), good(0), good(1)}, "a and c are the same run: "},
		"twice, merged":    {[]*Result{good(1), mustMerge(t, Part{"x", good(0)}, Part{"y", good(1)})}, "a and y are the same run: "},
	} {
		if _, err := Merge(partsOf(c.results...)); c.says == "" && err != nil || c.says != "" && (err == nil || !strings.HasPrefix(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
	many := with(func(r *Result) {})
	for _, r := range many {
		r.Histograms.Latency = packed(threeDigits, zigzag(0, maxSamples/2+1))
	}
	if _, err := Merge(partsOf(many...)); err == nil || err.Error() != "281474976710658 samples in all are more than 281474976710656" {
		t.Errorf("too many samples: %v", err)
	}
	most := with(func(r *Result) { r.BytesRead = maxNumber })
	most[0].BytesRead = 1
	if _, err := Merge(partsOf(most...)); err == nil || err.Error() != "the sum of all: bytes_read: 9007199254740993 is too large" {
		t.Errorf("an overflow of the sum: %v", err)
	}
}

// Machines that have the same name are told apart.
func TestMergeNames(t *testing.T) {
	part := func(name string, i int) Part { return Part{name, newFake(noon.Add(time.Duration(i))).finish(t)} }
	east := mustMerge(t, part("a", 1), part("b", 2))
	west := mustMerge(t, part("a", 3), part("c", 4))
	got := mustMerge(t, Part{"east", east}, Part{"west", west}, part("d", 5), part("d", 6))
	names := make(map[string]bool)
	for _, m := range got.Machines {
		names[m.Name] = true
	}
	want(t, "names", strings.Join(slices.Sorted(maps.Keys(names)), " "), "b c d d (2) east/a west/a")
}

// Two runs that load a server at the same time are one result, whose totals are the
// server's.
func TestMergeOfRuns(t *testing.T) {
	s := serveTLS(t, nil, nil)
	results := make(chan *Result)
	for range 2 {
		go func() {
			res, err := Run(t.Context(), closedConfig(s))
			if err != nil {
				t.Error(err)
			}
			results <- res
		}()
	}
	a, b := <-results, <-results
	if t.Failed() {
		return
	}
	res := mustMerge(t, Part{"a", reread(t, a)}, Part{"b", reread(t, b)})
	wantSame(t, res, s)
	want(t, "handshakes", res.Handshakes, a.Handshakes+b.Handshakes)
	want(t, "latencies", res.Latency.Count, res.Handshakes)
	want(t, "targets", len(res.Targets), 1)
	inSeries := int64(0)
	for _, p := range res.Series {
		inSeries += p.Handshakes
	}
	want(t, "handshakes in the series", inSeries, res.Total.Begun-res.Total.Probes)
	wantNoNull(t, res)
}

func TestMergeWarnsOfTheSameSeed(t *testing.T) {
	result := func(host, seed string) *Result {
		r := newFake(noon).finish(t)
		r.Environment.Host = host
		r.Settings.Flags["rate"], r.Settings.Flags["seed"] = "10", seed
		return r
	}
	warnings := func(seeds ...string) string {
		var all []*Result
		for i, s := range seeds {
			all = append(all, result(fmt.Sprint("host", i), s))
		}
		return strings.Join(mustMerge(t, partsOf(all...)...).Warnings, "\n")
	}
	want(t, "different seeds", warnings("1", "2", "3"), "")
	want(t, "the same seeds", warnings("1", "2", "1"), "a, c have the same --seed: their handshakes were due at the same moments. Give each machine its own.")
	want(t, "results without a seed", warnings("", ""), "")
}
