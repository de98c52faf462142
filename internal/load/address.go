package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/loop"
)

// This file finds the addresses of the targets.

// maxAddresses is how many addresses of a name are loaded.
const maxAddresses = 64

// Resolver looks up names. A *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// endpoint is one address of a target.
type endpoint struct {
	target     string // as given
	network    string // "tcp" or "unix"
	address    string // numeric, or the name of the Unix socket
	host, port string // of the target, without an IPv6 zone; "localhost" and no port for a Unix socket
	ip         netip.Addr
}

// String returns the address as results show it.
func (e *endpoint) String() string {
	if e.network == "unix" {
		return "unix:" + e.address
	}
	return e.address
}

// parseTarget returns a target's endpoint, without its address if that has to be looked
// up.
func parseTarget(target string) (endpoint, error) {
	e := endpoint{target: target, network: "tcp"}
	if name, ok := strings.CutPrefix(target, "unix:"); ok {
		if name == "" || name == "@" {
			return e, fmt.Errorf("target %q names no Unix socket: unix:/run/server.sock and unix:@name do", target)
		}
		e.network, e.address, e.host = "unix", name, "localhost"
		return e, nil
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" || port == "" {
		return e, fmt.Errorf("target %q is neither HOST:PORT nor unix:PATH", target)
	}
	e.host, e.port = host, port
	if ip, err := netip.ParseAddr(host); err == nil {
		// The zone means something on this machine only (RFC 6874, section 1).
		e.host = ip.WithZone("").String()
		e.ip, e.address = ip, net.JoinHostPort(host, port)
	}
	return e, nil
}

// lookUp returns the addresses of all targets, and warnings about those that are left
// out.
func (c *Config) lookUp(ctx context.Context) (found []endpoint, warnings []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var resolver Resolver = net.DefaultResolver
	if c.Resolver != nil {
		resolver = c.Resolver
	}
	for _, target := range c.Targets {
		e, err := parseTarget(target)
		switch {
		case err != nil:
			return nil, nil, err
		case e.address != "":
			found = append(found, e)
			continue
		}
		ips, err := resolver.LookupNetIP(ctx, "ip", e.host)
		if err == nil && len(ips) == 0 {
			err = errors.New("the name has no address")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", target, err)
		}
		if len(ips) > maxAddresses {
			warnings = append(warnings, fmt.Sprintf("%s has %d addresses: only the first %d are loaded.", target, len(ips), maxAddresses))
		}
		var seen []netip.Addr
		for _, ip := range ips[:min(len(ips), maxAddresses)] {
			if ip = ip.Unmap(); slices.Contains(seen, ip) {
				continue
			}
			seen = append(seen, ip)
			e.ip, e.address = ip, net.JoinHostPort(ip.String(), e.port)
			found = append(found, e)
		}
	}
	return found, warnings, nil
}

// checkSources returns an error if a source cannot connect to any of the addresses.
func (c *Config) checkSources(found []endpoint) error {
	for _, source := range c.Sources {
		if !slices.ContainsFunc(found, func(e endpoint) bool { return e.reachableFrom(source) }) {
			return fmt.Errorf("source %s: no target has an address of its kind, %s", source, family(source))
		}
	}
	return nil
}

func (e *endpoint) reachableFrom(source netip.Addr) bool {
	return e.network == "tcp" && e.ip.Unmap().Is4() == source.Unmap().Is4()
}

func family(ip netip.Addr) string {
	if ip.Unmap().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// dialers returns the dialers for an address: one for each source that can connect to
// it. There is none if no source can.
func (c *Config) dialers(e *endpoint, all map[netip.Addr]*loop.Dialer) []*loop.Dialer {
	if len(c.Sources) == 0 || e.network == "unix" {
		return []*loop.Dialer{all[netip.Addr{}]}
	}
	var list []*loop.Dialer
	for _, source := range c.Sources {
		if e.reachableFrom(source) {
			list = append(list, all[source])
		}
	}
	return list
}

// newDialers returns a dialer for each source, and under the zero address one that
// leaves the choice to the system.
func newDialers(sources []netip.Addr, timeout time.Duration) map[netip.Addr]*loop.Dialer {
	all := map[netip.Addr]*loop.Dialer{{}: {Timeout: timeout}}
	for _, ip := range sources {
		all[ip] = &loop.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}}
	}
	return all
}
