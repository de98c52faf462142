package memory

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once, when it has been quiet.
func TestReturner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int32
		used := returner(time.Second, func() { freed.Add(1) })
		for range 3 {
			before := freed.Load()
			for range 5 {
				used()
				time.Sleep(time.Second / 2)
				synctest.Wait()
				if freed.Load() != before {
					t.Fatal("given back while there was work")
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if freed.Load() != before+1 {
				t.Fatalf("given back %d times after the work", freed.Load()-before)
			}
		}
	})
}
