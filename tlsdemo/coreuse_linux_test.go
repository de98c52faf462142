package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCPUTimes(t *testing.T) {
	const stat = `cpu  1607956 1817 400406 2418835 5594 0 49802 1411 0 0
cpu0 100 20 30 5000 60 7 8 9 0 0
cpu1 1 2 3 4 5 6 7 8 0 0
cpu12 1000 0 0 0 0 0 0 0 0 0
intr 1 2 3 4 5 6 7 8 9 10
`
	cpus, used := cpuTimes(stat, func(cpu int) bool { return cpu != 1 })
	if want := 1159 * tick; cpus != 2 || used != want {
		t.Errorf("%d CPUs used %v, want 2 and %v", cpus, used, want)
	}
	if cpus, used := cpuTimes("", func(int) bool { return true }); cpus != 0 || used != 0 {
		t.Errorf("of nothing: %d CPUs, %v", cpus, used)
	}
}

func TestRunQueueWait(t *testing.T) {
	dir := t.TempDir()
	if _, ok := runQueueWait(dir); ok {
		t.Error("it is known where there is nothing to read")
	}
	for thread, text := range map[string]string{"1": "1000 250 7\n", "2": "5 4000000000 1\n"} {
		if err := os.Mkdir(filepath.Join(dir, thread), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, thread, "schedstat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if sum, ok := runQueueWait(dir); !ok || sum != 4*time.Second+250 {
		t.Errorf("%v, %v; want 4.00000025s", sum, ok)
	}
	if err := os.WriteFile(filepath.Join(dir, "1", "schedstat"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := runQueueWait(dir); ok {
		t.Error("nonsense is taken for a time")
	}
}

// takeCoreUse sees the work of this process.
func TestTakeCoreUse(t *testing.T) {
	before := takeCoreUse()
	if before.cores == 0 {
		t.Skip("the kernel does not tell how the cores are used")
	}
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; {
	}
	if u := takeCoreUse().sub(before); u.cores < 1 || u.own <= 0 || u.all <= 0 || u.waited < 0 {
		t.Errorf("after 200 ms of work: %+v", u)
	}
}
