package loop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/jobloop/jobloop/internal/unixsocket"
)

// How Dial gets from a network and an address to the sockets' addresses. Whatever would
// only fail later, and for a reason that is hard to tell, is an error here.

// resolve returns the addresses to try, in order; one at least. It must finish before
// limit. If q is not nil, more addresses may come from it, and the caller closes it.
func (d *Dialer) resolve(ctx context.Context, t *task, network, address string, limit int64) (_ []target, q *lookup, _ error) {
	switch network {
	case "unix":
		out, err := d.resolveUnix(address)
		return out, nil, err
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, nil, net.UnknownNetworkError(network)
	}
	from, err := d.tcpSource(network)
	if err != nil {
		return nil, nil, err
	}
	host, service, err := splitAddress(address)
	if err != nil {
		return nil, nil, err
	}
	ips, err := literal(network, host, from)
	if err != nil {
		return nil, nil, err
	}
	port, numeric, err := portNumber(service)
	if err != nil {
		return nil, nil, err
	}
	if !numeric {
		if port, err = d.lookUpPort(ctx, t, network, service, limit); err != nil {
			return nil, nil, err
		}
	}
	fit := func(ips []netip.Addr) ([]target, error) { return targets(network, address, ips, port, from) }
	if ips == nil {
		return d.lookUp(ctx, t, network, host, limit, fit)
	}
	out, err := fit(ips)
	return out, nil, err
}

// maxAddress is the longest "host:port" that can mean anything: a name of 254 bytes, or
// an IPv6 address with a zone, and the name of a service.
const maxAddress = 512

// splitAddress is net.SplitHostPort with more checks.
func splitAddress(address string) (host, service string, err error) {
	switch {
	case address == "":
		return "", "", &net.AddrError{Err: "missing address"}
	case len(address) > maxAddress:
		return "", "", addrError(address, "address of %d bytes, more than %d", len(address), maxAddress)
	}
	host, service, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", addrError(address, "%s", err.(*net.AddrError).Err)
	}
	if service == "" {
		return "", "", addrError(address, "missing port in address")
	}
	for _, r := range host + service {
		switch {
		case r <= ' ' || r == 0x7f:
			return "", "", addrError(address, "invalid character %q", r)
		case r > 0x7f:
			return "", "", addrError(address, "not ASCII: convert the name first, as golang.org/x/net/idna does")
		}
	}
	return host, service, nil
}

// addrError is a net.AddrError that shows an address of any length and content.
func addrError(address, format string, args ...any) error {
	const most = 80
	shown := address
	if len(shown) > most {
		shown = shown[:most]
	}
	if q := strconv.QuoteToASCII(shown); q != `"`+shown+`"` {
		shown = q
	}
	if len(address) > most {
		shown += "..."
	}
	return &net.AddrError{Err: fmt.Sprintf(format, args...), Addr: shown}
}

// literal returns the addresses that host means without being looked up, or nil if it
// is a name. from is the address to connect from.
func literal(network, host string, from netip.AddrPort) ([]netip.Addr, error) {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	if host == "" { // this host, by IPv4 if there is a choice, as in package net
		if network == "tcp6" || from.Addr().Is6() {
			return []netip.Addr{v6}, nil
		}
		return []netip.Addr{v4}, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && strings.Contains(host, ":") {
		return nil, addrError(host, "not an IPv6 address, and no name")
	}
	if err != nil {
		return nil, nameError(host)
	}
	if zone := ip.Zone(); zone != "" {
		if _, err := zoneIndex(zone); err != nil {
			return nil, fmt.Errorf("%w: %w", addrError(host, "unknown zone %q", zone), err)
		}
	}
	switch ip = ip.Unmap(); {
	case ip == netip.IPv4Unspecified(): // this host, too; not every kernel takes it for that
		ip = v4
	case ip.Is6() && ip.WithZone("").IsUnspecified():
		return []netip.Addr{v6, v4}, nil // package net does the same, for hosts without IPv6
	}
	return []netip.Addr{ip}, nil
}

// nameError says why name cannot be one, or returns nil.
func nameError(name string) error {
	const most = 253 // without a trailing dot: see RFC 1035, section 2.3.4
	if name = strings.TrimSuffix(name, "."); len(name) > most {
		return addrError(name, "name of %d bytes, more than %d", len(name), most)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return addrError(name, "name with a label of %d bytes, which can be 1 to 63", len(label))
		}
	}
	return nil
}

// zoneIndex returns the index of an interface that is given by its name or its index.
func zoneIndex(zone string) (uint32, error) {
	ifi, err := net.InterfaceByName(zone)
	if n, perr := strconv.ParseUint(zone, 10, 31); perr == nil && err != nil {
		ifi, err = net.InterfaceByIndex(int(n))
	}
	if err != nil {
		return 0, err
	}
	return uint32(ifi.Index), nil
}

// portNumber returns the port if service is a number.
func portNumber(service string) (port uint16, numeric bool, err error) {
	digits := strings.TrimLeft(service, "+-")
	if strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(service, "+"), 10, 16)
	if err != nil {
		return 0, false, addrError(service, "invalid port, which can be 0 to 65535")
	}
	return uint16(n), true, nil
}

// targets returns those of ips that fit the network and the address to connect from, in
// the order in which they are tried.
func targets(network, address string, ips []netip.Addr, port uint16, from netip.AddrPort) ([]target, error) {
	var fit []netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		if network == "tcp" || ip.Is4() == (network == "tcp4") {
			fit = append(fit, ip)
		}
	}
	if len(fit) == 0 {
		return nil, addrError(address, "no suitable address for %s", network)
	}
	var out []target
	for _, ip := range interleave(fit) {
		t := target{remote: inetSockaddr(netip.AddrPortFrom(ip, port)), anyPort: from.Port() == 0}
		switch {
		case !from.Addr().IsValid(): // perhaps a port alone
			if from.Port() != 0 {
				t.local = inetSockaddr(netip.AddrPortFrom(unspecified(ip), from.Port()))
			}
		case from.Addr().Is4() == ip.Is4():
			t.local = inetSockaddr(from)
		default:
			continue
		}
		if out = append(out, t); len(out) == maxAddresses {
			break
		}
	}
	if len(out) == 0 {
		return nil, addrError(address, "no suitable address to connect to from %s", from)
	}
	return out, nil
}

// interleave makes IPv6 and IPv4 take turns, beginning with the family of the first (RFC
// 8305, section 4). Otherwise it keeps the order, which is the resolver's.
func interleave(ips []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, ip := range ips {
		if ip.Is4() == ips[0].Is4() {
			first = append(first, ip)
		} else {
			second = append(second, ip)
		}
	}
	out := make([]netip.Addr, 0, len(ips))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// unspecified returns the unspecified address of ip's family, which stands for any
// address of this host.
func unspecified(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// tcpSource returns the address to connect from. It is not valid if the kernel is to
// choose it; the port is 0 if the kernel is to choose that.
func (d *Dialer) tcpSource(network string) (from netip.AddrPort, err error) {
	if d.LocalAddr == nil {
		return from, nil
	}
	a, ok := d.LocalAddr.(*net.TCPAddr)
	switch {
	case !ok:
		return from, mismatched(d.LocalAddr, network)
	case a == nil:
		return from, nil
	case a.Port < 0 || a.Port > 65535:
		return from, addrError(a.String(), "invalid port of the local address")
	case len(a.IP) == 0:
		return netip.AddrPortFrom(netip.Addr{}, uint16(a.Port)), nil
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	if !ok {
		return from, addrError(a.String(), "invalid local address")
	}
	if ip = ip.Unmap(); a.Zone != "" {
		if _, err := zoneIndex(a.Zone); err != nil {
			return from, fmt.Errorf("%w: %w", addrError(a.String(), "unknown zone %q of the local address", a.Zone), err)
		}
		ip = ip.WithZone(a.Zone)
	}
	if ip.IsUnspecified() { // of either family
		ip = netip.Addr{}
	}
	return netip.AddrPortFrom(ip, uint16(a.Port)), nil
}

// mismatched is the error for a local address that is not one of the network.
func mismatched(local net.Addr, network string) error {
	return addrError(fmt.Sprint(local), "mismatched local address type: a %T for %s", local, network)
}

func (d *Dialer) resolveUnix(name string) ([]target, error) {
	if name == "" {
		return nil, &net.AddrError{Err: "missing address"}
	}
	if err := unixsocket.CheckName(name); err != nil {
		return nil, err
	}
	t := target{remote: unixSockaddr(name), anyPort: true}
	if d.LocalAddr == nil {
		return []target{t}, nil
	}
	a, ok := d.LocalAddr.(*net.UnixAddr)
	switch {
	case !ok || a != nil && a.Net != "unix" && a.Net != "":
		return nil, mismatched(d.LocalAddr, "unix")
	case a == nil || a.Name == "": // as in package net
		return []target{t}, nil
	}
	if err := unixsocket.CheckName(a.Name); err != nil {
		return nil, err
	}
	t.local = unixSockaddr(a.Name)
	return []target{t}, nil
}
