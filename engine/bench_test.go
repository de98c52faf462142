package engine_test

import (
	"context"
	"testing"
)

// What it costs an engine to be told that a handshake's context ends. crypto/tls
// makes one for each handshake, without a Done channel or children, and cancels
// it when the handshake is over.
func BenchmarkContext(b *testing.B) {
	nothing := func() {}
	for _, bb := range []struct {
		name string
		wait func(ctx context.Context)
	}{
		{"none", func(context.Context) {}},
		{"Err", func(ctx context.Context) { ctx.Err() }},
		{"Done", func(ctx context.Context) { ctx.Done() }},
		{"AfterFunc", func(ctx context.Context) { context.AfterFunc(ctx, nothing)() }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			parent := context.WithValue(context.WithoutCancel(context.Background()), hostKey{}, b) // as those of jobs
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(parent)
				bb.wait(ctx)
				cancel()
			}
		})
	}
}

type hostKey struct{}
