package waitctx_test

import (
	"testing"

	"github.com/jobloop/jobloop/waitctx"
)

// What a pause for a descriptor costs the job and whoever runs it: the job
// registers it, the other reads what has changed, the job resumes and clears it.
func BenchmarkWaitForFD(b *testing.B) {
	w := waitctx.New()
	var added, deleted []int
	b.ReportAllocs()
	for b.Loop() {
		if err := w.SetWaitFD("key", 3, nil, nil); err != nil {
			b.Fatal(err)
		}
		added, deleted = w.ChangedFDs(added[:0], deleted[:0])
		w.ResetChanges()
		if len(added) != 1 || !w.ClearFD("key") {
			b.Fatalf("added %v", added)
		}
	}
}

// A job that waits for a call, as with a key engine.
func BenchmarkWaitForCallback(b *testing.B) {
	w := waitctx.New()
	called := 0
	wake := func(arg any) error { called++; return nil }
	b.ReportAllocs()
	for b.Loop() {
		w.SetCallback(wake, w)
		fn, arg, ok := w.Callback()
		if !ok || !w.CallbackTaken() {
			b.Fatal("no callback")
		}
		if err := fn(arg); err != nil {
			b.Fatal(err)
		}
	}
	if called == 0 {
		b.Error("nothing was called")
	}
}
