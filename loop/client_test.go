//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package loop

import (
	"net/netip"
	"testing"
)

// Whose connections are counted together.
func TestClient(t *testing.T) {
	tests := []struct{ addr, want string }{
		{"192.0.2.7", "192.0.2.7/32"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::1", "2001:db8:1:2::/64"},
		{"2001:db8:1:3::1", "2001:db8:1:3::/64"},
	}
	for _, tt := range tests {
		sa := inetSockaddr(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 443))
		if got := client(sa); got != netip.MustParsePrefix(tt.want) {
			t.Errorf("%s is %v, want %s", tt.addr, got, tt.want)
		}
	}
	if p := client(unixSockaddr("@")); p.IsValid() {
		t.Errorf("a Unix socket's client is %v", p)
	}
}
