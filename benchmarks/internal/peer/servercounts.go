//go:build linux

package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
)

// Counts is what a server has counted of its clients. What reads the counters is
// not counted.
type Counts struct {
	Connections int64 `json:"connections"`
	Handshakes  int64 `json:"handshakes"` // that were completed
	Resumed     int64 `json:"resumed"`    // of these
	Requests    int64 `json:"requests"`
}

// Since returns what has come since an earlier count.
func (c Counts) Since(before Counts) Counts {
	return Counts{
		c.Connections - before.Connections, c.Handshakes - before.Handshakes,
		c.Resumed - before.Resumed, c.Requests - before.Requests,
	}
}

// Scrape reads metrics, as parseMetrics has them.
func Scrape(ctx context.Context, url string) (map[string]float64, error) {
	b, err := get(ctx, url)
	if err != nil {
		return nil, err
	}
	return parseMetrics(bytes.NewReader(b))
}

// getJSON reads a page into v.
func getJSON(ctx context.Context, url string, v any) error {
	b, err := get(ctx, url)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// get reads a page. It keeps no connection, which would be counted among the
// server's.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: client.IOTimeout}
	resp, err := once.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxPage))
}

// maxPage is many times as long as any server's page of counters.
const maxPage = 1 << 20

// parseMetrics reads the Prometheus text format: the values of counters and
// gauges. Series of one name that differ in their labels are added up under the
// name. Each is there under the name with its labels, too. Of histograms, there is
// the number of values, under the name and "_count".
func parseMetrics(r io.Reader) (map[string]float64, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	m := make(map[string]float64)
	for name, f := range families {
		for _, metric := range f.Metric {
			if h := metric.GetHistogram(); h != nil {
				m[name+"_count"] += float64(h.GetSampleCount())
				continue
			}
			v := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
			m[name] += v
			var labels []string
			for _, l := range metric.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if labels != nil {
				m[name+"{"+strings.Join(labels, ",")+"}"] = v
			}
		}
	}
	return m, nil
}
