package rsax8

import (
	"bytes"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
	"unsafe"
)

func TestAligned(t *testing.T) {
	for n := 1; n < 50; n++ {
		v := alignedVecs(n)
		if len(v) != n || uintptr(unsafe.Pointer(&v[0]))%vecBytes != 0 {
			t.Fatalf("%d vectors at %p", len(v), &v[0])
		}
	}
}

func TestBytes(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for _, size := range []int{256, 384, 512} {
		for _, x := range []*big.Int{
			new(big.Int), big.NewInt(1), pow2(52, -1), pow2(52, 0), pow2(8*size, -1), pow2(8*size-1, 0), below(r, pow2(8*size, 0)),
		} {
			b := x.FillBytes(make([]byte, size))
			v := num(alignedVecs(2 * shapes[8*size].limbs()))
			v.setBytes(3, b)
			if v.big(3).Cmp(x) != 0 || v.big(2).Sign() != 0 || v.big(4).Sign() != 0 {
				t.Fatalf("%d bytes: %x became %x", size, x, v.big(3))
			}
			got := bytes.Repeat([]byte{0xaa}, size)
			v.bytes(3, got)
			if !bytes.Equal(got, b) {
				t.Fatalf("%d bytes: %x came back as %x", size, b, got)
			}
		}
	}
}

// The borders at which a carry or a borrow is won or lost.

func TestCarryRunsThroughAllLimbs(t *testing.T) {
	needKernel(t)
	const n = 20
	columns := num(alignedVecs(n))
	for i := range columns {
		for l := range Lanes {
			columns[i][l] = limbMask
		}
	}
	for l := range Lanes { // from a different limb in each lane
		columns[l*2][l]++
	}
	dst := num(alignedVecs(n))
	normalize(dst, columns)
	for l := range Lanes {
		want := columns.big(l)
		want.Mod(want, pow2(n*limbBits, 0))
		if got := dst.big(l); got.Cmp(want) != 0 {
			t.Errorf("from limb %d: %x, want %x", l*2, got, want)
		}
	}
}

func TestColumnsAtTheBorders(t *testing.T) {
	needKernel(t)
	const n = 20
	columns := num(alignedVecs(n))
	for l, c := range [Lanes]uint64{
		1<<52 - 1, 1 << 52, 1<<52 + 1, // a carry of nothing, of one, of one and a rest
		1<<53 - 1, 1 << 63, 1<<63 - 1, // more than one bit is carried
		1<<64 - 1<<12, // the most that does not overflow with the carry below it
		0,
	} {
		for i := range columns {
			columns[i][l] = c
		}
	}
	dst := num(alignedVecs(n))
	normalize(dst, columns)
	for l := range Lanes {
		want := columns.big(l)
		want.Mod(want, pow2(n*limbBits, 0))
		if got := dst.big(l); got.Cmp(want) != 0 {
			t.Errorf("columns of %#x: %x, want %x", columns[0][l], got, want)
		}
	}
}

// Columns of the largest product are the fullest there can be: each limb is
// all ones, in all blocks.
func TestFullestColumnsDoNotOverflow(t *testing.T) {
	needKernel(t)
	for _, s := range allShapes {
		n := s.limbs()
		ones := pow2(n*limbBits, -1)
		a := num(alignedVecs(n))
		for l := range Lanes {
			a.setBig(l, ones)
		}
		columns, dst := num(alignedVecs(2*n)), num(alignedVecs(2*n))
		s.product(columns, a, a)
		normalize(dst, columns)
		want := new(big.Int).Mul(ones, ones)
		for l := range Lanes {
			if columns.big(l).Cmp(want) != 0 || dst.big(l).Cmp(want) != 0 {
				t.Errorf("%d limbs, lane %d: product of all ones is wrong", n, l)
			}
		}
	}
}

func TestDoubleMovesEveryTopBit(t *testing.T) {
	needKernel(t)
	a, dst := num(alignedVecs(20)), num(alignedVecs(20))
	for i := range a {
		for l := range Lanes {
			a[i][l] = 1<<51 | uint64(l)
		}
	}
	twice(dst, a)
	for l := range Lanes {
		want := a.big(l)
		want.Lsh(want, 1).Mod(want, pow2(20*limbBits, 0))
		if dst.big(l).Cmp(want) != 0 {
			t.Errorf("lane %d: %x, want %x", l, dst.big(l), want)
		}
	}
}

func TestAddAndSubtract(t *testing.T) {
	const n = 20
	r := mathrand.New(mathrand.NewPCG(1, 2))
	top := pow2(n*limbBits, 0)
	for range 50 {
		a := [Lanes]*big.Int{
			pow2(n*limbBits-1, 0),                             // minus one: the borrow runs through all limbs
			pow2(52, 0), new(big.Int), pow2(n*limbBits-1, -1), // plus one: the carry does
			below(r, top), below(r, top), below(r, pow2(520, 0)), pow2(520, 0),
		}
		b := [Lanes]*big.Int{
			big.NewInt(1), pow2(52, 0), new(big.Int), big.NewInt(1),
			below(r, top), below(r, top), below(r, top), pow2(520, -1),
		}
		x, y := newNum(n, a), newNum(n, b)
		x.add(y)
		for l := range Lanes {
			want := new(big.Int).Add(a[l], b[l])
			if got := x.big(l); got.Cmp(want.Mod(want, top)) != 0 {
				t.Fatalf("%x + %x = %x", a[l], b[l], got)
			}
		}
		x = newNum(n, a)
		x.subtract(y)
		for l := range Lanes {
			want := new(big.Int).Sub(a[l], b[l])
			if got := x.big(l); got.Cmp(want.Mod(want, top)) != 0 {
				t.Fatalf("%x - %x = %x", a[l], b[l], got)
			}
		}
		x = newNum(n, a)
		x.subtractIfNotLess(y, num(alignedVecs(n)))
		for l := range Lanes {
			want := a[l]
			if want.Cmp(b[l]) >= 0 {
				want = new(big.Int).Sub(a[l], b[l])
			}
			if got := x.big(l); got.Cmp(want) != 0 {
				t.Fatalf("%x less %x if not less = %x", a[l], b[l], got)
			}
		}
	}
}

func TestEqualLane(t *testing.T) {
	a, b := num(alignedVecs(3)), num(alignedVecs(3))
	a[2][5] = 7
	b[2][5] = 7
	b[1][4] = 1 << 51
	if !a.equalLane(b, 5) || a.equalLane(b, 4) {
		t.Error("lane 5 is equal, lane 4 is not")
	}
}
