//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "benchmarks: measuring needs Linux: it reads /proc and pins processes to cores")
	os.Exit(2)
}
