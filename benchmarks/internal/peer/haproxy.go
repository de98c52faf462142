//go:build linux

package peer

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
)

func init() {
	// A backlog as long as the kernel allows, and as many connections as it can
	// have; or few of both.
	register(haproxy("haproxy", "backlog 65535"))
	register(haproxy("haproxy-maxconn128", "backlog 64 maxconn 128"))
}

// haproxy is HAProxy with such a listener.
func haproxy(name, listen string) *configured {
	return &configured{
		info:    info{name: name, speaks: []Protocol{HTTPS}, runnable: installed("haproxy")},
		program: "haproxy", args: []string{"-db", "-f"}, config: "haproxy.cfg.tmpl", listen: listen,
		goodbye: syscall.SIGUSR1, // SIGTERM kills it
		counts: func(ctx context.Context, c *config, reads int64) (Counts, error) {
			return haproxyCounts(ctx, c.Stats, reads)
		},
	}
}

// haproxyCounts reads HAProxy's counters at its socket. This and the reads
// before are requests to it, too.
func haproxyCounts(ctx context.Context, addr string, reads int64) (Counts, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return Counts{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(client.IOTimeout))
	if _, err := io.WriteString(c, "show info; show stat\n"); err != nil {
		return Counts{}, fmt.Errorf("HAProxy's socket: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(c, maxPage))
	if err != nil {
		return Counts{}, fmt.Errorf("HAProxy's socket: %w", err)
	}
	return parseHAProxy(b, reads)
}

// parseHAProxy reads what the commands "show info" and "show stat" print: lines
// like "CumReq: 17", and, after a line that begins with "# ", CSV. What both count
// must be the same.
func parseHAProxy(b []byte, reads int64) (c Counts, err error) {
	info, stat, ok := bytes.Cut(b, []byte("\n# "))
	if !ok {
		return c, fmt.Errorf("HAProxy says %.200q", b)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimSpace(stat))).ReadAll()
	if err != nil {
		return c, fmt.Errorf("HAProxy's show stat: %w", err)
	}
	if len(rows) < 2 || rows[1][0] != "tls" || rows[1][1] != "FRONTEND" {
		return c, errors.New("HAProxy's show stat does not begin with the frontend tls")
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(info)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	for i, name := range rows[0] {
		fields[name] = rows[1][i]
	}
	var requests, full int64
	for name, n := range map[string]*int64{
		"CumSslConns": &c.Connections, "CumReq": &requests, "req_tot": &c.Requests, "ssl_sess": &full, "ssl_reused_sess": &c.Resumed,
	} {
		if *n, err = strconv.ParseInt(fields[name], 10, 64); err != nil {
			return c, fmt.Errorf("HAProxy's %s: %w", name, err)
		}
	}
	c.Handshakes = full + c.Resumed
	if requests-reads != c.Requests {
		return c, fmt.Errorf("HAProxy counts %d requests in all, %d of them at its socket, and %d by its frontend", requests, reads, c.Requests)
	}
	return c, nil
}
