// Gen writes kernel_amd64.s, the AVX-512 arithmetic of package rsax8. It is a
// module of its own, so that only "go generate" needs avo.
//
// A number is an array of vectors. Vector i holds limb i (52 bits) of eight
// numbers, one in each 64-bit lane. VPMADD52LUQ and VPMADD52HUQ multiply the low
// 52 bits of each lane, and add the low or high 52 bits of the product to 64-bit
// accumulators. So a column can take 4096 such additions before it has to be
// carried.
//
// The accumulators of a window of columns stay in registers. A row of a product
// touches size+1 columns. The lowest of them is then finished, and its register is
// used for the next column. Everything is unrolled. Addresses are those of whole
// operands plus constants.
//
// Wide numbers, in wide.go, are for few requests: the limbs of one or two numbers lie
// side by side in the lanes.
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
	wide{5, 2, 2}.multiply()
	for _, vectors := range []int{5, 8, 10} {
		wide{vectors, 2, 1}.multiply()
		wide{vectors, 1, 1}.multiply()
		lookup(vectors)
	}
	carry()
	double()
	clearRegisters()
	Generate()
}
