//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// nginxConfig makes nginx what the other servers are: one process, one thread,
// the same kind of answer from memory, and no sessions to resume.
const nginxConfig = `daemon off;
master_process off;
worker_processes 1;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	keepalive_requests 1000000000;
	keepalive_timeout IDLE;
	server {
		listen ADDR ssl;
		ssl_certificate CERT;
		ssl_certificate_key KEYFILE;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_ecdh_curve X25519;
		ssl_session_cache off;
		ssl_session_tickets off;
		default_type text/plain;
		location / { return 200 "BODY"; }
	}
}
`

func nginx(dir string) contender {
	return contender{nameNginx, func(ctx context.Context, o serverOptions) (*server, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		config := strings.NewReplacer("DIR", dir, "ADDR", addr, "CERT", o.cert.certFile, "KEYFILE", o.cert.keyFile,
			"IDLE", o.idleTimeout.String(), "BODY", answerBody).Replace(nginxConfig)
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
		return startServer(ctx, nameNginx, o.cpu, addr, nameNginx, "-e", "stderr", "-c", file)
	}}
}
