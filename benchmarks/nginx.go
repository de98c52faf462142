//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nginxConfig makes nginx what the other servers are: one process, one thread
// (or a worker process for each, which have a listener each, or else one would
// accept nearly all connections), the same cipher suites, the same kind of
// answer from memory.
const nginxConfig = `daemon off;
master_process MASTER;
worker_processes WORKERS;
worker_rlimit_nofile FILES;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
http {
	log_format first "$connection_requests $ssl_session_reused";
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	keepalive_requests 1000000000;
	keepalive_timeout IDLE;
	client_header_timeout HANDSHAKE; # of the handshake, too
	server {
		listen ADDR ssl backlog=BACKLOGREUSEPORT;
		ssl_certificate CERT;
		ssl_certificate_key KEYFILE;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_ecdh_curve CURVES;
		ssl_ciphers CIPHERS;
		ssl_conf_command Ciphersuites SUITES;
		ssl_session_cache off;
		ssl_session_tickets TICKETS;
		default_type text/plain;
		location / { return 200 "BODY"; }
		LOG
	}
	STATUS
}
`

// What the servers with OpenSSL may choose, so that all servers choose the same
// where the client offers it: AES-128-GCM, and X25519 or, if that is all that
// is offered, P-256.
const (
	opensslCurves  = "X25519:P-256"
	opensslCiphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
	opensslSuites  = "TLS_AES_128_GCM_SHA256"
)

// Backlogs: as long as the kernel allows, which is what Go asks for; and a short
// one, with which clients that would wait too long are not let in.
const (
	longBacklog  = 65535
	shortBacklog = 64
)

// nginx is nginx with a backlog.
func nginx(name, dir string, backlog int) contender {
	return contender{name, func(ctx context.Context, o serverOptions) (*server, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		tickets, log, status := "off", "", ""
		master, reuseport := "off", ""
		if o.threads > 1 {
			master, reuseport = "on", " reuseport"
		}
		var counts func(context.Context) (serverCounts, error)
		if o.tickets {
			tickets = "on"
		}
		if o.metrics {
			at, err := freeAddr()
			if err != nil {
				return nil, err
			}
			file := filepath.Join(dir, "nginx-"+filepath.Base(o.cert.certFile)+".log")
			log = "access_log " + file + " first;"
			status = "server { listen " + at + "; location / { stub_status; } }"
			reads := int64(0)
			counts = func(ctx context.Context) (serverCounts, error) {
				reads++
				return nginxCounts(ctx, "http://"+at+"/", file, reads)
			}
		}
		files, err := descriptorLimit()
		if err != nil {
			return nil, err
		}
		config := strings.NewReplacer("DIR", dir, "ADDR", addr, "CERT", o.cert.certFile, "KEYFILE", o.cert.keyFile,
			"CURVES", opensslCurves, "CIPHERS", opensslCiphers, "SUITES", opensslSuites, "TICKETS", tickets,
			"IDLE", milliseconds(o.idleTimeout)+"ms", "HANDSHAKE", milliseconds(o.handshakeTimeout())+"ms", "BODY", answerBody, "FILES", strconv.FormatUint(files, 10),
			"BACKLOG", strconv.Itoa(backlog), "LOG", log, "STATUS", status,
			"MASTER", master, "WORKERS", strconv.Itoa(max(o.threads, 1)), "REUSEPORT", reuseport).Replace(nginxConfig)
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
		s, err := startServer(ctx, name, o, addr, nameNginx, "-e", "stderr", "-c", file)
		if err == nil {
			s.counts = counts
		}
		return s, err
	}}
}

// descriptorLimit is how many descriptors a process may ask for. Programs in Go
// and HAProxy ask by themselves.
func descriptorLimit() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return min(l.Max, 40000), nil
}

// nginxCounts reads nginx's status page, which counts this and the reads before
// it too, as connections and as requests, and its log, which has a line for each
// request over TLS. A line is written before the status is asked for, if its
// answer was read before that: nginx has one thread. A handshake counts once
// there is a request after it.
func nginxCounts(ctx context.Context, url, log string, reads int64) (serverCounts, error) {
	page, err := get(ctx, url)
	if err != nil {
		return serverCounts{}, err
	}
	lines, err := os.ReadFile(log)
	if err != nil {
		return serverCounts{}, err
	}
	c, err := parseStubStatus(page)
	if err != nil {
		return serverCounts{}, err
	}
	c.Connections -= reads
	c.Requests -= reads
	for line := range bytes.Lines(lines) {
		switch string(bytes.TrimSpace(line)) {
		case "1 .":
			c.Handshakes++
		case "1 r":
			c.Handshakes++
			c.Resumed++
		}
	}
	return c, nil
}

var stubStatus = regexp.MustCompile(`server accepts handled requests\s+(\d+) (\d+) (\d+)`)

// parseStubStatus reads the connections and requests of all of nginx's listeners.
func parseStubStatus(page []byte) (c serverCounts, err error) {
	m := stubStatus.FindSubmatch(page)
	if m == nil {
		return c, fmt.Errorf("nginx's status is %q", page)
	}
	if c.Connections, err = strconv.ParseInt(string(m[2]), 10, 64); err != nil {
		return c, fmt.Errorf("nginx's status: %w", err)
	}
	if c.Requests, err = strconv.ParseInt(string(m[3]), 10, 64); err != nil {
		return c, fmt.Errorf("nginx's status: %w", err)
	}
	return c, nil
}
