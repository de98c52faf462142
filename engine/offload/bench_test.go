package offload_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"testing"

	"github.com/jobloop/jobloop/engine/offload"
	"github.com/jobloop/jobloop/internal/testkit/looptest"
	"github.com/jobloop/jobloop/loop"
)

// What it costs to have an operation done elsewhere: the signer does nothing.
// With one job there is a hand-over to another thread and back for each. The
// context is the job's, or a new one for each operation that can end, as
// crypto/tls makes for each handshake.
func BenchmarkSign(b *testing.B) {
	nothing := signerFunc(func(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) { return digest, nil })
	for _, mode := range []struct {
		name string
		mode offload.WakeMode
	}{{"callback", offload.WakeCallback}, {"fd", offload.WakeFD}} {
		for _, jobs := range []int{1, 64} {
			for _, ends := range []bool{false, true} {
				b.Run(fmt.Sprintf("wake=%s/jobs=%d/ends=%t", mode.name, jobs, ends), func(b *testing.B) {
					l := looptest.New(b, loop.Config{})
					k := newKey(b, newEngine(b, offload.Config{Wake: mode.mode}), nothing)
					b.ReportAllocs()
					b.ResetTimer()
					done := make(chan error, jobs)
					for i := range jobs {
						l.Go(looptest.Report(done, func(ctx context.Context) error {
							s := k.ForContext(ctx)
							cancel := func() {}
							for range (b.N + i) / jobs {
								if ends {
									var c context.Context
									c, cancel = context.WithCancel(ctx)
									s = k.ForContext(c)
								}
								_, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
								cancel()
								if err != nil {
									return err
								}
							}
							return nil
						}))
					}
					for range jobs {
						if err := <-done; err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
	b.Run("blocking", func(b *testing.B) {
		k := newKey(b, newEngine(b, offload.Config{}), nothing)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
}
