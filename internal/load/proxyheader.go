package load

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// This file makes headers of the PROXY protocol, which tell a server behind a proxy the
// addresses of the client's connection:
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxyHeader is the size of the longest header: version 1 with IPv6.
const maxProxyHeader = 107

// appendProxyHeader appends the header for a connection. For a Unix socket it gives no
// addresses: version 1 cannot, and HAProxy 2.6 takes those of version 2 for an invalid
// header.
func appendProxyHeader(b []byte, version int, local, remote net.Addr) []byte {
	from, to := tcpAddress(local), tcpAddress(remote)
	v4 := from.Addr().Is4() && to.Addr().Is4()
	isTCP := from.IsValid() && to.IsValid()
	if version == 1 {
		switch {
		case !isTCP:
			return append(b, "PROXY UNKNOWN\r\n"...)
		case v4:
			return fmt.Appendf(b, "PROXY TCP4 %s %s %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port())
		}
		return fmt.Appendf(b, "PROXY TCP6 %s %s %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	b = append(b, proxySignature...)
	switch {
	case !isTCP:
		return append(b, 0x20, 0x00, 0, 0) // LOCAL, UNSPEC, no addresses
	case v4:
		b = append(b, 0x21, 0x11, 0, 2*4+2*2) // PROXY, TCP over IPv4
		b = append(b, from.Addr().AsSlice()...)
		b = append(b, to.Addr().AsSlice()...)
	default:
		b = append(b, 0x21, 0x21, 0, 2*16+2*2) // PROXY, TCP over IPv6
		from16, to16 := from.Addr().As16(), to.Addr().As16()
		b = append(b, from16[:]...)
		b = append(b, to16[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// tcpAddress returns an address without its zone, which other machines do not have. It is
// not valid for a Unix socket.
func tcpAddress(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
