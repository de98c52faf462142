package load

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"
)

// This file tests histograms that come from files.

// header is the header of an encoded histogram.
type header struct {
	Cookie          uint32
	Payload, Offset int32
	Digits          int32
	Lowest, Highest int64
	Ratio           float64
}

// packed encodes a histogram with the given header and payload. The header's cookie and
// size of the payload are set if they are 0.
func packed(h header, payload []byte) Histogram {
	if h.Cookie == 0 {
		h.Cookie = 0x1c849313
	}
	if h.Payload == 0 {
		h.Payload = int32(len(payload))
	}
	var body bytes.Buffer
	z := zlib.NewWriter(&body)
	binary.Write(z, binary.BigEndian, &h)
	z.Write(payload)
	z.Close()
	return framed(body.Bytes())
}

// framed puts the outer header before compressed bytes.
func framed(body []byte) Histogram {
	out := binary.BigEndian.AppendUint32(nil, 0x1c849314)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	return Histogram(base64.StdEncoding.EncodeToString(append(out, body...)))
}

// zigzag encodes counts; a negative one is a number of zeros.
func zigzag(counts ...int64) []byte {
	var out []byte
	for _, n := range counts {
		u := uint64(n<<1 ^ n>>63)
		for range 8 {
			if u < 0x80 {
				break
			}
			out, u = append(out, byte(u)|0x80), u>>7
		}
		out = append(out, byte(u))
	}
	return out
}

var threeDigits = header{Digits: Digits, Lowest: 1, Highest: maxLatency.Microseconds(), Ratio: 1}

// The encoding is that of HdrHistogram's description: a header, and counts by value.
func TestDecode(t *testing.T) {
	h, err := packed(threeDigits, zigzag(-100, 1, -99, 2)).Decode(Digits)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "percentiles", percentiles(h), Percentiles{Count: 3, Min: 100, P50: 200, P90: 200, P99: 200, P999: 200, Max: 200, Mean: 166})
	h, err = Histogram("").Decode(SeriesDigits)
	if err != nil || h.TotalCount() != 0 {
		t.Errorf("of nothing: %v, %v", h, err)
	}
	want(t, "encoding of nothing", encode(newHistogram(Digits)), "")
}

func TestDecodeRefuses(t *testing.T) {
	with := func(change func(*header)) header { h := threeDigits; change(&h); return h }
	whole := string(packed(threeDigits, zigzag(1)))
	for name, c := range map[string]struct {
		h    Histogram
		says string
	}{
		"no base64":           {"%%%", "not base64"},
		"too short":           {"HISTFA==", "not a compressed histogram"},
		"another version":     {"HISTEQAAAAA=", "not a compressed histogram"},
		"cut off":             {Histogram(whole[:24]), "its header says"},
		"nothing compressed":  {framed(nil), "EOF"},
		"no zlib":             {framed([]byte("hello, world")), "zlib: invalid header"},
		"a short header":      {framed(deflated(20)), "its header: unexpected EOF"},
		"a bomb":              {packed(threeDigits, make([]byte, 4<<20)), "it unpacks to 262144 bytes or more"},
		"digits":              {packed(with(func(h *header) { h.Digits = 5 }), nil), "it has 5 digits from 1 to 3600000000 µs, not 3 from 1 to 3600000000"},
		"the whole range":     {packed(with(func(h *header) { h.Highest = math.MaxInt64 }), nil), "to 9223372036854775807 µs"},
		"a great lowest":      {packed(with(func(h *header) { h.Lowest = math.MaxInt64 }), nil), "from 9223372036854775807"},
		"a negative range":    {packed(with(func(h *header) { h.Lowest, h.Highest = -1, -1 }), nil), "from -1 to -1"},
		"another unit":        {packed(with(func(h *header) { h.Ratio = 1000 }), nil), "its unit is 1000 µs"},
		"no unit":             {packed(with(func(h *header) { h.Ratio = math.NaN() }), nil), "its unit is NaN µs"},
		"another cookie":      {packed(with(func(h *header) { h.Cookie = 1 }), nil), "only V2 is supported"},
		"a negative payload":  {packed(with(func(h *header) { h.Payload = -1 }), nil), "negative"},
		"a great payload":     {packed(with(func(h *header) { h.Payload = math.MaxInt32 }), nil), "PayloadLength 2147483647 exceeds"},
		"a longer payload":    {packed(with(func(h *header) { h.Payload = 1 }), zigzag(1, 2)), "PayloadLength"},
		"half a count":        {packed(threeDigits, []byte{0x80}), "truncated"},
		"many zeros":          {packed(threeDigits, zigzag(-1<<40)), "overflows"},
		"the most zeros":      {packed(threeDigits, zigzag(math.MinInt64)), "overflows"},
		"a count beyond":      {packed(threeDigits, zigzag(-23552, 1)), "overflows"},
		"too many":            {packed(threeDigits, zigzag(math.MaxInt64, math.MaxInt64)), "MaxInt64"},
		"too many to tell":    {packed(threeDigits, zigzag(maxSamples, 1)), "it has 281474976710657 samples, more than 281474976710656"},
		"a series' histogram": {encodedOf(SeriesDigits, time.Second), "it has 2 digits"},
	} {
		if h, err := c.h.Decode(Digits); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v samples, error %v, want %s", name, h, err, c.says)
		}
	}
}

func deflated(size int) []byte {
	var body bytes.Buffer
	z := zlib.NewWriter(&body)
	z.Write(make([]byte, size))
	z.Close()
	return body.Bytes()
}

func encodedOf(digits int, samples ...time.Duration) Histogram {
	h := newHistogram(digits)
	for _, d := range samples {
		record(h, d)
	}
	return encode(h)
}

// The distribution of the most samples that are allowed has an end.
func TestDistributionEnds(t *testing.T) {
	for _, last := range []int64{1, 2, 3, 1000} {
		h, err := packed(threeDigits, zigzag(0, maxSamples-last, 0, last)).Decode(Digits)
		if err != nil {
			t.Fatal(err)
		}
		l := newLatencies()
		l.latency = h
		res := new(Result)
		l.describe(res, false)
		if n := len(res.Distribution); n > 1000 {
			t.Errorf("%d points", n)
		}
	}
}

// Whatever decodes can be summarized, and encoded so that it decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, h := range []Histogram{packed(threeDigits, zigzag(-100, 1, -99, 2)), packed(threeDigits, zigzag(maxSamples-1, 1)), packed(threeDigits, zigzag(math.MinInt64)), encodedOf(SeriesDigits, 0, time.Second, 2*maxLatency)} {
		raw, _ := base64.StdEncoding.DecodeString(string(h))
		z, err := zlib.NewReader(bytes.NewReader(raw[8:]))
		if err != nil {
			f.Fatal(err)
		}
		var body bytes.Buffer
		body.ReadFrom(z)
		f.Add(string(h), body.Bytes())
	}
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write(body)
		w.Close()
		for _, h := range []Histogram{Histogram(text), framed(z.Bytes())} {
			for _, digits := range []int{SeriesDigits, Digits} {
				checkDecoded(t, h, digits)
			}
		}
	})
}

func checkDecoded(t *testing.T, h Histogram, digits int) {
	decoded, err := h.Decode(digits)
	if err != nil {
		return
	}
	l := newLatencies()
	l.latency = decoded
	res := new(Result)
	l.describe(res, true)
	if n := len(res.Distribution); n > 10_000 {
		t.Errorf("%d points", n)
	}
	again, err := encode(decoded).Decode(digits)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "percentiles", percentiles(again), res.Latency)
	sum := newHistogram(digits)
	want(t, "dropped", sum.Merge(decoded), 0)
	want(t, "samples", sum.TotalCount(), decoded.TotalCount())
	if !sum.Equals(decoded) {
		t.Error("a merge with nothing is another histogram")
	}
}
