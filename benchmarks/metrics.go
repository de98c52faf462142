//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// scrape reads a server's metrics.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	b, err := get(ctx, url)
	if err != nil {
		return nil, err
	}
	return parseMetrics(bytes.NewReader(b))
}

// get reads a page. It keeps no connection, which would be counted among the
// server's.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: ioTimeout}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxPage))
}

// maxPage is many times what any of the servers tells of itself.
const maxPage = 1 << 20

// parseMetrics reads the Prometheus text format. Series of one name that differ
// in their labels are added up under the name; each is there under the name with
// its labels, too.
func parseMetrics(r io.Reader) (map[string]float64, error) {
	m := make(map[string]float64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest := line, ""
		if i := strings.IndexByte(line, '{'); i >= 0 {
			// A label's value may have anything in it, the rest has no brace.
			name, rest = line[:i], line[strings.LastIndexByte(line, '}')+1:]
		} else if i := strings.IndexByte(line, ' '); i >= 0 {
			name, rest = line[:i], line[i:]
		}
		fields := strings.Fields(rest) // the value, and perhaps a time
		if len(fields) == 0 {
			return nil, fmt.Errorf("metrics: no value in %q", line)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", line, err)
		}
		m[name] += v
		if series := strings.TrimSpace(strings.TrimSuffix(line, rest)); series != name {
			m[series] = v
		}
	}
	return m, lines.Err()
}
