package loop

import (
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel gets seconds, and no more than it can keep.
func TestSetLingerCountsSeconds(t *testing.T) {
	a, _ := socketPair(t)
	for _, sec := range []int{0, 1, 300, math.MaxInt} {
		if err := setLinger(a, sec); err != nil {
			t.Fatalf("%d seconds: %v", sec, err)
		}
		l, err := unix.GetsockoptIPMreq(a, unix.SOL_SOCKET, unix.SO_LINGER) // two ints as well
		if err != nil {
			t.Fatal(err)
		}
		on, got := binary.NativeEndian.Uint32(l.Multiaddr[:]), int(binary.NativeEndian.Uint32(l.Interface[:]))
		if want := min(sec, maxLinger); on != 1 || got != want {
			t.Errorf("%d seconds: on %d, the kernel has %d, want %d", sec, on, got, want)
		}
	}
}
