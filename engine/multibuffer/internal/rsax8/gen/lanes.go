package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Functions that work on one limb after the other, and the table lookup.

// carry emits norm.
func carry() {
	function("norm", "dst, t *[8]uint64, limbs int",
		"norm carries through t and stores the result, limbs of 52 bits; what is left above the last is dropped.")
	dst, t, n := RDI, RSI, RCX
	pointer("dst", dst)
	pointer("t", t)
	pointer("limbs", n)
	loadMask()
	c, x := zmm[0], zmm[1]
	zero(c)
	Label("limb")
	VPADDQ(limb(t, 0), c, c)
	VPANDQ(mask52, c, x)
	VMOVDQU64(x, limb(dst, 0))
	VPSRLQ(U8(52), c, c)
	ADDQ(Imm(vecBytes), t)
	ADDQ(Imm(vecBytes), dst)
	DECQ(n)
	JNZ(LabelRef("limb"))
	finish()
}

// double emits dbl.
func double() {
	function("dbl", "dst, a *[8]uint64, limbs int", "dbl sets dst = 2a. The top bit of a is lost.")
	dst, a, n := RDI, RSI, RCX
	pointer("dst", dst)
	pointer("a", a)
	pointer("limbs", n)
	loadMask()
	prev, x, y := zmm[0], zmm[1], zmm[2]
	zero(prev)
	Label("limb")
	VMOVDQU64(limb(a, 0), x)
	VPADDQ(x, x, y)
	VPANDQ(mask52, y, y)
	VPORQ(prev, y, y)
	VMOVDQU64(y, limb(dst, 0))
	VPSRLQ(U8(51), x, prev)
	ADDQ(Imm(vecBytes), a)
	ADDQ(Imm(vecBytes), dst)
	DECQ(n)
	JNZ(LabelRef("limb"))
	finish()
}

// lookup emits sel. It reads every entry in full, whatever the indices are.
func lookup(size int) {
	name := fmt.Sprintf("sel%d", size)
	function(name, "dst, table, index *[8]uint64, entries, stride int", fmt.Sprintf(
		"%s sets %d limbs of dst to those of the table's entry that index names, in each lane its own. Entries are stride bytes apart.", name, size))
	dst, table, index, n, stride := RDI, RSI, RDX, RCX, R8
	for _, p := range []struct {
		name string
		r    Register
	}{{"dst", dst}, {"table", table}, {"index", index}, {"entries", n}, {"stride", stride}} {
		pointer(p.name, p.r)
	}
	idx, one, entry, match := zmm[31], zmm[30], zmm[29], zmm[28]
	VMOVDQU64(limb(index, 0), idx)
	VPTERNLOGQ(U8(0xff), one, one, one)
	VPSRLQ(U8(63), one, one)
	zero(entry)
	for j := range size {
		zero(zmm[j])
	}
	Label("entry")
	VPCMPEQQ(idx, entry, K1)
	VPTERNLOGQ_Z(U8(0xff), match, match, K1, match)
	for j := range size {
		VPTERNLOGQ(U8(0xf8), limb(table, j), match, zmm[j]) // zmm[j] | match & entry
	}
	VPADDQ(one, entry, entry)
	ADDQ(stride, table)
	DECQ(n)
	JNZ(LabelRef("entry"))
	for j := range size {
		VMOVDQU64(zmm[j], limb(dst, j))
	}
	finish()
}

// clearRegisters emits wipeRegisters.
func clearRegisters() {
	function("wipeRegisters", "", "wipeRegisters sets the vector and mask registers to zero.")
	for _, r := range zmm {
		zero(r)
	}
	for _, k := range []Register{K0, K1, K2, K3, K4, K5, K6, K7} {
		KXORQ(k, k, k)
	}
	finish()
}
