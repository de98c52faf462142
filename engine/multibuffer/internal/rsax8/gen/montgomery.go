package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Products, squares and Montgomery reduction.

// normalize carries through the columns from first on, and stores them.
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

// product emits mul or mulAdd: t = a*b or t += a*b, without carrying.
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

// squareInto emits t = a*a, without carrying. Products of different limbs are
// computed once and doubled; then the squares of the limbs are added.
func squareInto(size int, t, a Register) {
	w := window(size)
	store := func(c int) { // called when column c has all products of different limbs
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

// squareOf emits sqr.
func squareOf(size int) {
	name := fmt.Sprintf("sqr%d", size)
	function(name, "t, a *[8]uint64", fmt.Sprintf("%s sets t = a * a, without carrying. a has %d limbs, t twice as many.", name, size))
	pointer("t", RDI)
	pointer("a", RSI)
	squareInto(size, RDI, RSI)
	finish()
}

// reduceHead begins row i of a reduction. It finds the quotient limb that makes
// column i divisible by 2^52, and does the part of the row on which the next row's
// quotient depends.
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

// reduceRest does the limbs of m from index from up to but not including to.
func (w window) reduceRest(m Register, i int, y VecPhysical, from, to int) {
	for j := from; j < to; j++ {
		x := load(limb(m, j))
		if j > 1 {
			lo(w.col(i+j), x, y)
		}
		hi(w.col(i+j+1), x, y)
	}
}

// reduction adds multiples of m to the columns of t until t is divisible by
// 2^(52*size). The upper half, with the carry from the lower half, is left in
// registers. If q is not nil, the quotient's limbs are stored there.
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
			// Column i is finished, and its register is free.
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

// montgomeryMultiply emits amm. Product and reduction alternate row by row, so
// that no column leaves its register.
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
		lo(y, w.col(i), k0) // started first because it is needed soon
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
