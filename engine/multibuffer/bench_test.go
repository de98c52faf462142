package multibuffer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// BenchmarkSign compares a signature in full batches, gathering and all, with
// one of crypto/rsa.
func BenchmarkSign(b *testing.B) {
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	for _, name := range []string{"2048a", "3072", "4096"} {
		b.Run(name[:4]+"/crypto-rsa", func(b *testing.B) {
			k := testKey(b, name)
			for b.Loop() {
				if _, err := k.Sign(rand.Reader, digest, pss); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name[:4]+"/batches", func(b *testing.B) {
			e := newEngine(b, Config{})
			l := looptest.New(b, loop.Config{})
			k := newKey(b, e, name)
			const jobs = 64
			b.ReportAllocs()
			b.ResetTimer()
			left := b.N
			mustAll(b, together(b, l, jobs, func(ctx context.Context, _ int) error {
				bound := k.ForContext(ctx)
				for left > 0 {
					left--
					if _, err := bound.Sign(rand.Reader, digest, pss); err != nil {
						return err
					}
				}
				return nil
			}))
			s := e.Stats()
			b.ReportMetric(float64(s.Operations)/float64(s.Batches), "ops/batch")
		})
	}
}

// BenchmarkGoroutines signs on 64 goroutines, and on one, with as many processors as
// GOMAXPROCS says, or seems to: with more than the machine has, the lock and the lead
// are taken from goroutines that do not run.
func BenchmarkGoroutines(b *testing.B) {
	for _, procs := range []int{1, 2, 8, 64} {
		for _, goroutines := range []int{1, 64} {
			b.Run(fmt.Sprintf("procs=%d/goroutines=%d", procs, goroutines), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				e := newEngine(b, Config{})
				epoch := time.Now()
				e.now = func() time.Duration { return time.Since(epoch) }
				k := newKey(b, e, "2048a")
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range goroutines {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := k.Sign(rand.Reader, digest, crypto.SHA256); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				s := e.Stats()
				b.ReportMetric(float64(s.Operations)/float64(s.Batches), "ops/batch")
			})
		}
	}
}
