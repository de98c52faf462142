package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The building blocks of the emitted functions.

const vecBytes = 64 // eight lanes

var zmm = [32]VecPhysical{
	Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
}

// Registers 0 to 20 are columns; the others have one use each.
var (
	rowFactor = zmm[21] // the limb by which a row is multiplied
	yEven     = zmm[22] // quotient limb of even rows of a reduction
	yOdd      = zmm[23] // quotient limb of odd rows
	k0        = zmm[24] // -1/m mod 2^52
	mask52    = zmm[25] // 2^52 - 1
	temps     = []VecPhysical{zmm[26], zmm[27], zmm[28], zmm[29], zmm[30], zmm[31]}
	nextTemp  int
)

func temp() VecPhysical {
	nextTemp++
	return temps[nextTemp%len(temps)]
}

func limb(base Register, i int) Mem { return Mem{Base: base, Disp: i * vecBytes} }

// window is the columns held in registers. There are size+1 of them, and column c
// is in register c mod (size+1).
type window int

func (w window) col(c int) VecPhysical { return zmm[c%(int(w)+1)] }

func zero(r VecPhysical)              { VPXORQ(r, r, r) }
func lo(acc, x, y VecPhysical)        { VPMADD52LUQ(x, y, acc) }
func hi(acc, x, y VecPhysical)        { VPMADD52HUQ(x, y, acc) }
func load(m Mem) VecPhysical          { t := temp(); VMOVDQU64(m, t); return t }
func pointer(name string, r Register) { Load(Param(name), r.(GPPhysical)) }

// loadMask sets mask52 without reading memory.
func loadMask() {
	VPTERNLOGQ(U8(0xff), mask52, mask52, mask52)
	VPSRLQ(U8(12), mask52, mask52)
}

func function(name, args, doc string) {
	TEXT(name, NOSPLIT, "func("+args+")")
	Doc(doc)
	Pragma("noescape")
}

func finish() {
	VZEROUPPER()
	RET()
}
