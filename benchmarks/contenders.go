//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// This file says which servers there are, and which of them can run here. Those
// with files of their own are nginx.go and haproxy.go; peers.go is what those in
// Go do.

// Names of servers, on the command line and in the tables.
const (
	nameJobloop     = "jobloop"
	nameMultibuffer = "jobloop-multibuffer"
	nameOffload     = "jobloop-offload"
	nameGoroutines  = "goroutines"
	nameFrugal      = "goroutines-frugal"
	nameNginx       = "nginx"
	nameHAProxy     = "haproxy"

	// With what helps them when they are asked for too much.
	nameNginxShort = "nginx-backlog64"
	nameHAProxyFew = "haproxy-maxconn128"
)

// engines has our servers' names, and the key engine each runs with.
var engines = map[string]string{
	nameJobloop:     "none",
	nameMultibuffer: "multibuffer",
	nameOffload:     "offload",
}

// jobloop is our server under one of its names: tlsdemo serve, with a loop for
// each thread. It gives tickets to whoever asks: crypto/tls's clients do not where
// sessions are not to be resumed, but wrk does.
func jobloop(name, program string) contender {
	return contender{name, func(ctx context.Context, o serverOptions) (*server, error) {
		engine := engines[name]
		args := []string{"serve", "--addr", "127.0.0.1:0", "--loops", strconv.Itoa(max(o.threads, 1)), "--engine", engine, "--cert", o.cert.certFile,
			"--keyfile", o.cert.keyFile, "--idle-timeout", o.idleTimeout.String(),
			"--handshake-timeout", o.handshakeTimeout().String(), "--request-timeout", o.handshakeTimeout().String()}
		metrics := ""
		if o.metrics {
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			args = append(args, "--metrics", addr)
			metrics = "http://" + addr + "/metrics"
		}
		if name == nameOffload {
			o.threads = max(o.threads, 1) + 1 // its worker: with one thread it would wait for the loop's to sleep
		}
		s, err := startServer(ctx, name, o, "", program, args...)
		if err != nil {
			return nil, err
		}
		if o.metrics {
			s.metrics = metrics
			s.counts = func(ctx context.Context) (serverCounts, error) { return scrapeCounts(ctx, metrics, jobloopCounts) }
		}
		// It serves without the engine too, if it has to.
		if !strings.Contains(s.said, "engine: "+engine+" ") {
			return nil, errors.Join(fmt.Errorf("it serves without the engine %s: %s", engine, s.said), s.stop())
		}
		return s, nil
	}}
}

// goPeer is one of the servers in peers.go.
func goPeer(kind string) contender {
	return contender{kind, func(ctx context.Context, o serverOptions) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args := []string{"peer", kind, "--cert", o.cert.certFile, "--keyfile", o.cert.keyFile,
			"--idle-timeout", o.idleTimeout.String(), "--handshake-timeout", o.handshakeTimeout().String()}
		if o.tickets {
			args = append(args, "--tickets")
		}
		var counts func(context.Context) (serverCounts, error)
		if o.metrics {
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			args = append(args, "--metrics", addr)
			counts = func(ctx context.Context) (serverCounts, error) {
				return scrapeCounts(ctx, "http://"+addr+"/", peerCounts)
			}
		}
		s, err := startServer(ctx, kind, o, "", self, args...)
		if err == nil {
			s.counts = counts
		}
		return s, err
	}}
}

// contenders returns the servers of these names.
func (o *options) contenders(ctx context.Context, dir string, names []string) ([]contender, error) {
	all := make([]contender, len(names))
	program := ""
	for i, name := range names {
		switch {
		case engines[name] != "":
			if program == "" {
				var err error
				if program, err = o.program(ctx, dir); err != nil {
					return nil, err
				}
			}
			all[i] = jobloop(name, program)
		case name == nameNginx:
			all[i] = nginx(name, dir, longBacklog)
		case name == nameNginxShort:
			all[i] = nginx(name, dir, shortBacklog)
		case name == nameHAProxy:
			all[i] = haproxy(name, dir, haproxyOpen)
		case name == nameHAProxyFew:
			all[i] = haproxy(name, dir, haproxyFew)
		default:
			all[i] = goPeer(name)
		}
	}
	return all, nil
}

// runnable returns the servers of those named that can run here with a key of
// this kind, and says of each other why not.
func runnable(names []string, key string) (can, notes []string) {
	for _, name := range names {
		var err error
		switch name {
		case nameNginx, nameHAProxy, nameNginxShort, nameHAProxyFew:
			program, _, _ := strings.Cut(name, "-")
			_, err = exec.LookPath(program)
		case nameMultibuffer:
			if err = multibuffer.Supported(); err == nil && !strings.HasPrefix(key, "rsa") {
				err = errors.New("its engine is for RSA keys")
			}
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: SKIPPED: %v.", name, err))
			continue
		}
		can = append(can, name)
	}
	return can, notes
}

// runnableOrError is runnable for a part with one key: that no server can run is
// an error.
func runnableOrError(names []string, key string) (can, notes []string, _ error) {
	if can, notes = runnable(names, key); len(can) == 0 {
		return nil, nil, nothingToMeasure(notes)
	}
	return can, notes, nil
}

// nothingToMeasure is the error of a part that none of the servers can run.
func nothingToMeasure(notes []string) error {
	return fmt.Errorf("nothing to measure: %s", strings.Join(notes, " "))
}

// program returns the tlsdemo to measure, which it builds in dir if none was
// named.
func (o *options) program(ctx context.Context, dir string) (string, error) {
	if o.Tlsdemo != "" {
		return o.Tlsdemo, nil
	}
	return buildTlsdemo(ctx, dir)
}

// buildTlsdemo builds this checkout's tlsdemo in dir, if it is not there yet.
func buildTlsdemo(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "tlsdemo")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	progress("building tlsdemo")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/jobloop/jobloop/tlsdemo")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tlsdemo (run this inside the module): %w\n%s", err, out)
	}
	return program, nil
}
