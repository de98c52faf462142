//go:build linux

package main

import (
	"os"
	"testing"
)

func TestLooksAtAProcess(t *testing.T) {
	pid := os.Getpid()
	if n, err := contextSwitches(pid); n == 0 || err != nil {
		t.Errorf("contextSwitches = %d, %v", n, err)
	}
	before, err := descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := descriptors(pid); n != before+1 || err != nil {
		t.Errorf("descriptors = %d, %v, want %d", n, err, before+1)
	}
}
