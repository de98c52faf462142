//go:build gc && !wasm

// Package goroutine tells goroutines apart.
package goroutine

// ID returns a number that the calling goroutine alone has while it lives: the
// address of the runtime's record of it, which never moves, and is reused when
// the goroutine has ended. It is not the number that stack traces show. A call
// takes about 2 ns.
//
// Where there is no assembly for it (WebAssembly, compilers other than gc), ID
// is 0 for all goroutines.
func ID() uintptr
