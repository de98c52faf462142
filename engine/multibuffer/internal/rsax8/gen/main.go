// Gen writes kernel_amd64.s, the AVX-512 arithmetic of package rsax8. It is a
// module of its own, so that nothing but "go generate" needs avo.
//
// A number is an array of vectors: vector i holds limb i, 52 bits, of eight
// numbers, one in each 64-bit lane. VPMADD52LUQ and VPMADD52HUQ multiply the
// low 52 bits of each lane and add the low or the high 52 bits of the product
// to 64-bit accumulators, so a column may take 4096 of them before its carry
// has to be moved on.
//
// The accumulators of a window of columns stay in registers: a row of a
// product touches size+1 columns, the lowest of which is then finished and
// gives its register to the one that comes next. Everything is unrolled, and
// nothing but the addresses of whole operands enters an address.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("!purego")
	montgomeryMultiply(20)
	montgomerySquare(20)
	for _, size := range []int{15, 20} {
		product(size, false)
		product(size, true)
		squareOf(size)
		reduce(size)
		lookup(size)
	}
	carry()
	double()
	clearRegisters()
	Generate()
}
