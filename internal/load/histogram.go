package load

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file has one histogram: how it is made, summarized, and stored in a result.

// Histogram is a histogram of times in microseconds, in HdrHistogram's compressed V2
// encoding and base64, as HdrHistogram's logs have it. It is empty if nothing was
// recorded.
type Histogram string

// Significant digits of histograms.
const (
	Digits       = 3 // of a part of a run
	SeriesDigits = 2 // of an interval
)

// maxLatency is the end of the histograms. Longer times count as this.
const maxLatency = time.Hour

// newHistogram returns a histogram of times in microseconds.
func newHistogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), digits)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(d.Microseconds(), 1), maxLatency.Microseconds())) // cannot fail: the value is in range
}

// percentiles summarizes a histogram.
func percentiles(h *hdrhistogram.Histogram) Percentiles {
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	at := h.ValueAtPercentiles([]float64{50, 90, 99, 99.9})
	return Percentiles{
		Count: h.TotalCount(),
		Min:   h.Min(),
		P50:   at[50],
		P90:   at[90],
		P99:   at[99],
		P999:  at[99.9],
		Max:   h.Max(),
		Mean:  int64(h.Mean()),
	}
}

// encode returns the stored form of a histogram that newHistogram has made.
func encode(h *hdrhistogram.Histogram) Histogram {
	if h.TotalCount() == 0 {
		return ""
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it writes to memory
	}
	return Histogram(text)
}

// The encoding has two headers: one before the compressed bytes and one at their
// beginning. The lowest byte of each cookie says how the counts are written.
const (
	outerHeader = 8
	cookieMask  = ^uint32(0xf0)

	// maxUnpacked is more than the largest histogram needs: with three digits, it
	// has 23,552 counts of at most 9 bytes.
	maxUnpacked = 256 << 10

	// maxSamples is the most samples of a histogram. Far more of them would be
	// more than floating-point numbers can tell apart, and the library's
	// distribution of them would have no end.
	maxSamples = 1 << 48
)

// Decode returns the histogram, which must have the given number of significant digits.
// It may come from anywhere: what it unpacks to is bounded.
func (h Histogram) Decode(digits int) (*hdrhistogram.Histogram, error) {
	if h == "" {
		return newHistogram(digits), nil
	}
	packed, err := base64.StdEncoding.DecodeString(string(h))
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	if len(packed) < outerHeader || binary.BigEndian.Uint32(packed)&cookieMask != uint32(hdrhistogram.V2CompressedEncodingCookieBase) {
		return nil, errors.New("not a compressed histogram of HdrHistogram's version 2")
	}
	if n := binary.BigEndian.Uint32(packed[4:]); int64(n) != int64(len(packed)-outerHeader) {
		return nil, fmt.Errorf("it has %d compressed bytes, its header says %d", len(packed)-outerHeader, n)
	}
	if err := checkUnpacked(packed[outerHeader:], digits); err != nil {
		return nil, err
	}
	decoded, err := hdrhistogram.Decode([]byte(h))
	if err != nil {
		return nil, err
	}
	if n := decoded.TotalCount(); n > maxSamples {
		return nil, fmt.Errorf("it has %d samples, more than %d", n, int64(maxSamples))
	}
	return decoded, nil
}

// checkUnpacked checks the size of what is compressed, and its header. The library
// would allocate what the header asks for.
func checkUnpacked(packed []byte, digits int) error {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	header := struct {
		Cookie          uint32
		Payload, Offset int32
		Digits          int32
		Lowest, Highest int64
		Ratio           float64
	}{}
	limited := &io.LimitedReader{R: z, N: maxUnpacked}
	if err := binary.Read(limited, binary.BigEndian, &header); err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	if lowest, highest := int64(1), maxLatency.Microseconds(); header.Lowest != lowest || header.Highest != highest || int(header.Digits) != digits {
		return fmt.Errorf("it has %d digits from %d to %d µs, not %d from %d to %d", header.Digits, header.Lowest, header.Highest, digits, lowest, highest)
	}
	if header.Ratio != 1 {
		return fmt.Errorf("its unit is %v µs, not 1", header.Ratio)
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return err
	}
	if limited.N == 0 {
		return fmt.Errorf("it unpacks to %d bytes or more", maxUnpacked)
	}
	return nil
}
