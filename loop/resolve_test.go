package loop

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The families take turns; the order is kept otherwise.
func TestInterleave(t *testing.T) {
	for in, want := range map[string]string{
		"1.0.0.1":                         "1.0.0.1",
		"1.0.0.2 1.0.0.1":                 "1.0.0.2 1.0.0.1",
		"::2 ::1 1.0.0.2 1.0.0.1":         "::2 1.0.0.2 ::1 1.0.0.1",
		"1.0.0.2 ::2 ::1":                 "1.0.0.2 ::2 ::1",
		"1.0.0.2 1.0.0.1 1.0.0.3 ::1":     "1.0.0.2 ::1 1.0.0.1 1.0.0.3",
		"::4 ::3 ::2 1.0.0.1 ::1 1.0.0.2": "::4 1.0.0.1 ::3 1.0.0.2 ::2 ::1",
	} {
		var ips []netip.Addr
		for s := range strings.FieldsSeq(in) {
			ips = append(ips, netip.MustParseAddr(s))
		}
		var got []string
		for _, ip := range interleave(ips) {
			got = append(got, ip.String())
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("interleave(%s) = %s, want %s", in, got, want)
		}
	}
}

// Each attempt has its part of the time.
func TestShare(t *testing.T) {
	const s = 1_000_000_000
	for _, tt := range []struct {
		waiting, width int
		left, want     int64
	}{
		{waiting: 1, width: 1, left: 30 * s, want: 30 * s},
		{waiting: 2, width: 1, left: 30 * s, want: 15 * s},
		{waiting: 100, width: 1, left: 30 * s, want: 2 * s},
		{waiting: 100, width: 1, left: s, want: s},
		{waiting: 8, width: 8, left: 30 * s, want: 30 * s},
		{waiting: 9, width: 8, left: 30 * s, want: 15 * s},
		{waiting: 24, width: 8, left: 1<<63 - 1, want: (1<<63 - 1) / 3},
	} {
		r := race{limit: 5 + tt.left, width: tt.width, waiting: make([]target, tt.waiting)}
		if tt.left == 1<<63-1 {
			r.limit = tt.left
		}
		now := r.limit - tt.left
		if got := r.share(now); got != tt.want {
			t.Errorf("share of %d, %d at a time, in %d: %d, want %d", tt.waiting, tt.width, tt.left, got, tt.want)
		}
	}
}

// A name with very many addresses does not keep the loop busy.
func TestTargetsAreBounded(t *testing.T) {
	var ips []netip.Addr
	for i := range 5000 {
		ips = append(ips, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0xfd, 14: byte(i >> 8), 15: byte(i)}))
	}
	out, err := targets("tcp", "host:1", ips, 1, netip.AddrPort{})
	if err != nil || len(out) != maxAddresses {
		t.Fatalf("%d addresses, %v, want %d", len(out), err, maxAddresses)
	}
	families := make(map[string]int)
	for _, a := range out {
		families[fmt.Sprintf("%T", a.remote)]++
	}
	if len(families) != 2 {
		t.Errorf("the addresses are %v", families)
	}
}
