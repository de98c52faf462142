package multibuffer

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"testing"

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
