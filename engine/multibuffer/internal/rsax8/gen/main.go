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

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const vecBytes = 64 // eight lanes

var zmm = [32]VecPhysical{
	Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
}

// Registers 0 to 20 are columns; the others have one use each.
var (
	rowFactor = zmm[21] // the limb that a row multiplies by
	yEven     = zmm[22] // quotient limb of even rows of a reduction
	yOdd      = zmm[23] // and of odd ones
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

// window is the columns that are in registers: size+1 of them, column c in
// register c mod size+1.
type window int

func (w window) col(c int) VecPhysical { return zmm[c%(int(w)+1)] }

func zero(r VecPhysical)              { VPXORQ(r, r, r) }
func lo(acc, x, y VecPhysical)        { VPMADD52LUQ(x, y, acc) }
func hi(acc, x, y VecPhysical)        { VPMADD52HUQ(x, y, acc) }
func load(m Mem) VecPhysical          { t := temp(); VMOVDQU64(m, t); return t }
func pointer(name string, r Register) { Load(Param(name), r.(GPPhysical)) }

// loadMask makes mask52 from nothing.
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

// normalize carries through the columns from first on and stores them.
func (w window) normalize(dst Register, first int) {
	size := int(w)
	for j := range size {
		c := w.col(first + j)
		t := temp()
		VPANDQ(mask52, c, t)
		VMOVDQU64(t, limb(dst, j))
		if j < size-1 {
			VPSRLQ(U8(52), c, c)
			VPADDQ(c, w.col(first+j+1), w.col(first+j+1))
		}
	}
}

// productRow adds x * rowFactor to the columns from c on.
func (w window) productRow(x Register, c, from int) {
	for j := from; j < int(w); j++ {
		t := load(limb(x, j))
		lo(w.col(c+j), t, rowFactor)
		hi(w.col(c+j+1), t, rowFactor)
	}
}

// product emits mul or mulAdd: t = a*b or t += a*b, columns not carried.
func product(size int, add bool) {
	name, doc := "mul", "t = a * b, without carrying"
	if add {
		name, doc = "mulAdd", "t += a * b, without carrying"
	}
	name = fmt.Sprintf("%s%d", name, size)
	function(name, "t, a, b *[8]uint64", fmt.Sprintf("%s sets %s. a and b have %d limbs, t twice as many.", name, doc, size))
	t, a, b := RDI, RSI, RDX
	pointer("t", t)
	pointer("a", a)
	pointer("b", b)
	w := window(size)
	begin := func(c int) {
		if add && c < 2*size {
			VMOVDQU64(limb(t, c), w.col(c))
		} else {
			zero(w.col(c))
		}
	}
	for c := range size {
		begin(c)
	}
	for i := range size {
		begin(i + size)
		VMOVDQU64(limb(b, i), rowFactor)
		w.productRow(a, i, 0)
		VMOVDQU64(w.col(i), limb(t, i))
	}
	for c := size; c < 2*size; c++ {
		VMOVDQU64(w.col(c), limb(t, c))
	}
	finish()
}

// squareInto emits t = a*a, without carrying: the products of different limbs
// once, doubled, and the squares of the limbs.
func squareInto(size int, t, a Register) {
	w := window(size)
	store := func(c int) { // column c has all products of different limbs
		r := w.col(c)
		x := load(limb(a, c/2))
		if c == 0 {
			zero(r)
		} else {
			VPADDQ(r, r, r)
		}
		if c%2 == 0 {
			lo(r, x, x)
		} else {
			hi(r, x, x)
		}
		VMOVDQU64(r, limb(t, c))
	}
	store(0)
	for c := 1; c < size; c++ {
		zero(w.col(c))
	}
	for i := range size {
		if i < size-1 {
			zero(w.col(i + size))
			VMOVDQU64(limb(a, i), rowFactor)
			for j := i + 1; j < size; j++ {
				x := load(limb(a, j))
				lo(w.col(i+j), x, rowFactor)
				hi(w.col(i+j+1), x, rowFactor)
			}
		} else {
			zero(w.col(2*size - 1))
		}
		store(2*i + 1)
		if i < size-1 {
			store(2*i + 2)
		}
	}
}

// reduceHead begins row i of a reduction: it finds the quotient limb that makes
// column i divisible by 2^52, and does what the next row's quotient waits for.
func (w window) reduceHead(m Register, i int, y VecPhysical) {
	zero(y)
	lo(y, w.col(i), k0)
	w.reduceCarry(m, i, y)
}

func (w window) reduceCarry(m Register, i int, y VecPhysical) {
	m0, m1 := load(limb(m, 0)), load(limb(m, 1))
	lo(w.col(i), m0, y)
	hi(w.col(i+1), m0, y)
	lo(w.col(i+1), m1, y)
	VPSRLQ(U8(52), w.col(i), w.col(i))
	VPADDQ(w.col(i), w.col(i+1), w.col(i+1))
}

// reduceRest finishes the row: limbs from of m, up to but not including to.
func (w window) reduceRest(m Register, i int, y VecPhysical, from, to int) {
	for j := from; j < to; j++ {
		x := load(limb(m, j))
		if j > 1 {
			lo(w.col(i+j), x, y)
		}
		hi(w.col(i+j+1), x, y)
	}
}

// reduction adds multiples of m to the columns of t until the lower half is
// divisible by 2^(52*size). The upper half, with what is carried into it, is
// left in registers. q, if not nil, takes the quotient's limbs.
func reduction(size int, t, m, q Register) {
	w := window(size)
	ys := [2]VecPhysical{yEven, yOdd}
	for c := range size {
		VMOVDQU64(limb(t, c), w.col(c))
	}
	column := func(c int) {
		if c < 2*size {
			VMOVDQU64(limb(t, c), w.col(c))
		}
	}
	column(size)
	w.reduceHead(m, 0, ys[0])
	for i := range size {
		y := ys[i%2]
		half := 1 + size/2
		w.reduceRest(m, i, y, 1, half)
		if q != nil {
			VMOVDQU64(y, limb(q, i))
		}
		if i+1 < size {
			// The register of column i, which is finished.
			column(i + 1 + size)
			w.reduceHead(m, i+1, ys[(i+1)%2])
		}
		w.reduceRest(m, i, y, half, size)
	}
}

// reduce emits red.
func reduce(size int) {
	name := fmt.Sprintf("red%d", size)
	function(name, "t, m, k, q *[8]uint64", fmt.Sprintf(
		"%s adds q * m to t for the q that makes the lower %d limbs of t zero, and carries from there into limb %d; it stores q, %d limbs, and the upper limbs of t, without carrying.",
		name, size, size, size))
	t, m, q, k := RDI, RSI, RDX, RCX
	pointer("t", t)
	pointer("m", m)
	pointer("q", q)
	pointer("k", k)
	VMOVDQU64(limb(k, 0), k0)
	reduction(size, t, m, q)
	w := window(size)
	for c := size; c < 2*size; c++ {
		VMOVDQU64(w.col(c), limb(t, c))
	}
	finish()
}

// montgomerySquare emits ams.
func montgomerySquare(size int) {
	name := fmt.Sprintf("ams%d", size)
	function(name, "dst, a, m, k, t *[8]uint64", fmt.Sprintf(
		"%s sets dst = a * a / 2^%d modulo m, less than 2m if a is and 4m < 2^%d. t is scratch of %d limbs.",
		name, 52*size, 52*size, 2*size))
	dst, a, m, k, t := RDI, RSI, RDX, RCX, R8
	for _, p := range []struct {
		name string
		r    Register
	}{{"dst", dst}, {"a", a}, {"m", m}, {"k", k}, {"t", t}} {
		pointer(p.name, p.r)
	}
	squareInto(size, t, a)
	VMOVDQU64(limb(k, 0), k0)
	reduction(size, t, m, nil)
	loadMask()
	window(size).normalize(dst, size)
	finish()
}

// montgomeryMultiply emits amm: product and reduction go row by row, so that
// no column leaves its register.
func montgomeryMultiply(size int) {
	name := fmt.Sprintf("amm%d", size)
	function(name, "dst, a, b, m, k *[8]uint64", fmt.Sprintf(
		"%s sets dst = a * b / 2^%d modulo m, less than 2m if a and b are and 4m < 2^%d.",
		name, 52*size, 52*size))
	dst, a, b, m, k := RDI, RSI, RDX, RCX, R8
	for _, p := range []struct {
		name string
		r    Register
	}{{"dst", dst}, {"a", a}, {"b", b}, {"m", m}, {"k", k}} {
		pointer(p.name, p.r)
	}
	w := window(size)
	VMOVDQU64(limb(k, 0), k0)
	for c := range size {
		zero(w.col(c))
	}
	for i := range size {
		y := yEven
		VMOVDQU64(limb(b, i), rowFactor)
		x := load(limb(a, 0))
		lo(w.col(i), x, rowFactor)
		zero(y)
		lo(y, w.col(i), k0) // needed soon, so begun first
		hi(w.col(i+1), x, rowFactor)
		zero(w.col(i + size))
		w.productRow(a, i, 1)
		w.reduceCarry(m, i, y)
		w.reduceRest(m, i, y, 1, size)
	}
	loadMask()
	w.normalize(dst, size)
	finish()
}

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

// lookup emits sel. Every entry is read in full, whatever the indices are.
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
	function("wipeRegisters", "", "wipeRegisters sets the vector registers to zero.")
	for _, r := range zmm {
		zero(r)
	}
	finish()
}

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

// squareOf emits sqr.
func squareOf(size int) {
	name := fmt.Sprintf("sqr%d", size)
	function(name, "t, a *[8]uint64", fmt.Sprintf("%s sets t = a * a, without carrying. a has %d limbs, t twice as many.", name, size))
	pointer("t", RDI)
	pointer("a", RSI)
	squareInto(size, RDI, RSI)
	finish()
}
