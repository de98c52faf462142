//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// haproxyConfig makes HAProxy what the other servers are: as many threads, the
// same cipher suites, the same kind of answer from memory. It answers by itself;
// there is no server behind it.
const haproxyConfig = `global
	nbthread THREADS
	fd-hard-limit 40000
	hard-stop-after 10s
	tune.ssl.cachesize 0
	ssl-default-bind-curves CURVES
	ssl-default-bind-ciphers CIPHERS
	ssl-default-bind-ciphersuites SUITES
	ssl-default-bind-options ssl-min-ver TLSv1.2 TICKETS
	SOCKET
defaults
	mode http
	timeout client IDLEms
	timeout http-request HANDSHAKEms
	timeout http-keep-alive IDLEms
frontend tls
	bind ADDR ssl crt PEM alpn http/1.1 LIMITS
	http-request return status 200 content-type text/plain file BODY
`

// What HAProxy's listener is limited to: as long a backlog as the kernel allows,
// and as many connections as it can have; or few of both.
const (
	haproxyOpen = "backlog 65535"
	haproxyFew  = "backlog 64 maxconn 128"
)

// haproxy is HAProxy with such limits.
func haproxy(name, dir, limits string) contender {
	return contender{name, func(ctx context.Context, o serverOptions) (*server, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		pem, err := joinFiles(o.cert.certFile, o.cert.keyFile)
		if err != nil {
			return nil, err
		}
		tickets, socket := "no-tls-tickets", ""
		if o.tickets {
			tickets = ""
		}
		var counts func(context.Context) (serverCounts, error)
		if o.metrics {
			path := filepath.Join(dir, "haproxy.sock")
			socket = "stats socket " + path + " mode 600"
			reads := int64(0)
			counts = func(ctx context.Context) (serverCounts, error) {
				reads++
				return haproxyCounts(ctx, path, reads)
			}
		}
		at := func(name string) string { return filepath.Join(dir, "haproxy"+name) }
		config := strings.NewReplacer("ADDR", addr, "THREADS", strconv.Itoa(max(o.threads, 1)), "PEM", at(".pem"), "BODY", at(".body"), "LIMITS", limits, "SOCKET", socket, "TICKETS", tickets,
			"CURVES", opensslCurves, "CIPHERS", opensslCiphers, "SUITES", opensslSuites,
			"IDLE", milliseconds(o.idleTimeout), "HANDSHAKE", milliseconds(o.handshakeTimeout())).Replace(haproxyConfig)
		for name, content := range map[string][]byte{".pem": pem, ".body": []byte(answerBody), ".cfg": []byte(config)} {
			if err := os.WriteFile(at(name), content, 0o600); err != nil {
				return nil, err
			}
		}
		s, err := startServer(ctx, name, o, addr, nameHAProxy, "-db", "-f", at(".cfg"))
		if err == nil {
			s.counts = counts
			s.goodbye = syscall.SIGUSR1 // SIGTERM kills it
		}
		return s, err
	}}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// joinFiles returns what the files hold, one after the other.
func joinFiles(names ...string) ([]byte, error) {
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// haproxyCounts reads HAProxy's counters at its socket. This and the reads
// before are requests to it, too.
func haproxyCounts(ctx context.Context, path string, reads int64) (serverCounts, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return serverCounts{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(ioTimeout))
	if _, err := io.WriteString(c, "show info; show stat\n"); err != nil {
		return serverCounts{}, fmt.Errorf("HAProxy's socket: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(c, maxPage))
	if err != nil {
		return serverCounts{}, fmt.Errorf("HAProxy's socket: %w", err)
	}
	return parseHAProxy(b, reads)
}

// parseHAProxy reads what the commands "show info" and "show stat" print, the
// latter as CSV after a line that begins with "# ". What both count must be the
// same.
func parseHAProxy(b []byte, reads int64) (c serverCounts, err error) {
	info, stat, ok := bytes.Cut(b, []byte("\n# "))
	if !ok {
		return c, fmt.Errorf("HAProxy says %.200q", b)
	}
	var requests int64
	for name, field := range map[string]*int64{"CumSslConns": &c.Connections, "CumReq": &requests} {
		if *field, err = infoField(info, name); err != nil {
			return c, err
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimSpace(stat))).ReadAll()
	if err != nil {
		return c, fmt.Errorf("HAProxy's show stat: %w", err)
	}
	if len(rows) < 2 || rows[1][0] != "tls" || rows[1][1] != "FRONTEND" {
		return c, errors.New("HAProxy's show stat does not begin with the frontend tls")
	}
	var full int64
	for name, field := range map[string]*int64{"req_tot": &c.Requests, "ssl_sess": &full, "ssl_reused_sess": &c.Resumed} {
		i := slices.Index(rows[0], name)
		if i < 0 {
			return c, fmt.Errorf("HAProxy's show stat has no %s", name)
		}
		if *field, err = strconv.ParseInt(rows[1][i], 10, 64); err != nil {
			return c, fmt.Errorf("HAProxy's show stat: %s: %w", name, err)
		}
	}
	c.Handshakes = full + c.Resumed
	if requests-reads != c.Requests {
		return c, fmt.Errorf("HAProxy counts %d requests in all, %d of them at its socket, and %d by its frontend", requests, reads, c.Requests)
	}
	return c, nil
}

// infoField reads a line like "CumReq: 17".
func infoField(info []byte, name string) (int64, error) {
	for line := range bytes.Lines(info) {
		if key, value, _ := strings.Cut(string(line), ":"); key == name {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("HAProxy's show info: %s: %w", name, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("HAProxy's show info has no %s", name)
}
