//go:build !purego

package rsax8

import "golang.org/x/sys/cpu"

// Supported reports whether this CPU has the instructions that the kernel uses.
func Supported() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512IFMA
}
