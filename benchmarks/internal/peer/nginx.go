//go:build linux

package peer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
)

func init() {
	// A backlog as long as the kernel allows, which is what Go asks for; and a short
	// one, with which clients that would wait too long are not let in.
	register(nginx("nginx", "backlog=65535"))
	register(nginx("nginx-backlog64", "backlog=64"))
}

// nginx is nginx with such a listener.
func nginx(name, listen string) *configured {
	return &configured{
		info:    info{name: name, speaks: []Protocol{HTTPS}, runnable: installed("nginx")},
		program: "nginx", args: []string{"-e", "stderr", "-c"}, config: "nginx.conf.tmpl", listen: listen,
		goodbye: syscall.SIGTERM,
		counts: func(ctx context.Context, c *config, reads int64) (Counts, error) {
			return nginxCounts(ctx, "http://"+c.Stats, c.Log, reads)
		},
	}
}

// nginxCounts reads nginx's status page, which counts this and the reads before
// it too, as connections and as requests, and its log, which has a line for each
// request over TLS. A line is written before the status is asked for, if its
// answer was read before that: nginx has one thread. A handshake counts once
// there is a request after it.
func nginxCounts(ctx context.Context, url, log string, reads int64) (Counts, error) {
	page, err := get(ctx, url)
	if err != nil {
		return Counts{}, err
	}
	lines, err := os.ReadFile(log)
	if err != nil {
		return Counts{}, err
	}
	c, err := parseStubStatus(page)
	if err != nil {
		return Counts{}, err
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

// parseStubStatus reads the connections and requests of all of nginx's listeners.
func parseStubStatus(page []byte) (c Counts, err error) {
	_, numbers, _ := bytes.Cut(page, []byte("server accepts handled requests"))
	var accepted int64
	if _, err := fmt.Sscan(string(numbers), &accepted, &c.Connections, &c.Requests); err != nil {
		return c, fmt.Errorf("nginx's status is %q: %w", page, err)
	}
	return c, nil
}
