package loop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// A name server that never answers for one family does not keep the addresses of the
// other from being used.
func TestDialOneFamilyIsSilent(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	v4 := greeter(t, "tcp4", "127.0.0.1:0").(*net.TCPAddr)
	for _, silent := range []uint16{typeAAAA, typeA} {
		address, ip := v4.String(), "127.0.0.1"
		if silent == typeA {
			ln, err := net.Listen("tcp6", "[::1]:0")
			if err != nil {
				t.Skip(err)
			}
			ln.Close()
			address, ip = greeter(t, "tcp6", "[::1]:0").String(), "::1"
		}
		_, port, _ := net.SplitHostPort(address)
		release := make(chan bool)
		r := resolver(func(_ string, kind uint16) []netip.Addr {
			if kind == silent {
				<-release
				return nil
			}
			return []netip.Addr{netip.MustParseAddr(ip)}
		})
		r.StrictErrors = true // it does not get by without an answer
		err := do(t, l, func(ctx context.Context) error {
			return greeted(ctx, &loop.Dialer{Resolver: r, Timeout: time.Hour}, "tcp", "host.test.:"+port)
		})
		close(release)
		if err != nil {
			t.Errorf("no answer to questions of type %d: %v", silent, err)
		}
	}
}

// Addresses that are found late are tried too.
func TestDialLateAddress(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	v6 := greeter(t, "tcp6", "[::1]:0").(*net.TCPAddr)
	closed := fmt.Sprintf("127.0.0.1:%d", v6.Port)
	if c, err := net.DialTimeout("tcp", closed, testkit.Patience); err == nil {
		c.Close()
		t.Skip("somebody listens at ", closed)
	}
	var questions atomic.Int32
	again := make(chan bool)
	r := resolver(func(_ string, kind uint16) []netip.Addr {
		if kind == typeAAAA {
			<-again
			return []netip.Addr{netip.IPv6Loopback()}
		}
		if questions.Add(1) == 2 {
			close(again)
		}
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	})
	looptest.Must(t, l, func(ctx context.Context) error {
		return greeted(ctx, &loop.Dialer{Resolver: r, Timeout: time.Hour}, "tcp", fmt.Sprintf("host.test.:%d", v6.Port))
	})
}

// Whatever ends a dial that waits for more addresses, after those it knew have failed,
// says so.
func TestDialWaitsForMore(t *testing.T) {
	l := looptest.New(t, loop.Config{})
	port := freePort(t)
	release := make(chan bool)
	t.Cleanup(func() { close(release) })
	r := resolver(func(_ string, kind uint16) []netip.Addr {
		if kind == typeAAAA {
			<-release
			return nil
		}
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	})
	err := do(t, l, func(ctx context.Context) error {
		d := loop.Dialer{Resolver: r, Timeout: 300 * time.Millisecond}
		_, err := d.Dial(ctx, "tcp", fmt.Sprintf("host.test.:%d", port))
		return err
	})
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("Dial: %v, want a timeout", err)
	}
}
