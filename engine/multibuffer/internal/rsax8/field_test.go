package rsax8

import (
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
)

// All shapes: of primes, and of moduli.
var allShapes = []fieldShape{{20, 1}, {15, 2}, {20, 2}, {15, 4}, {20, 4}}

// moduli returns odd numbers less than R/4, the usual and the unusual, eight of
// them or a multiple of that.
func moduli(r *mathrand.Rand, s fieldShape) []*big.Int {
	n := s.limbs()
	top := n*limbBits - 2 // bits
	odd := func(x *big.Int) *big.Int { return x.SetBit(x, 0, 1) }
	holes := new(big.Int) // every other limb is zero
	for i := 0; i < n-1; i += 2 {
		holes.SetBit(holes, i*limbBits+51, 1)
	}
	return []*big.Int{
		pow2(top, -1),      // all ones, the largest there may be
		pow2(top-1, 1),     // a one at each end
		pow2(top-14, -1),   // all ones, of the usual length
		pow2(top-14, -105), //
		big.NewInt(3),      //
		pow2(52, -1),       // quotient limbs are the columns
		pow2(52, 1),        // and their negatives
		new(big.Int).Sub(pow2(top, -1), pow2(limbBits*2, 0)), // one bit is not set
		odd(holes), //
		odd(new(big.Int).Not(holes).And(pow2(top, -1), holes)), // the other limbs
		odd(below(r, pow2(top, 0))),
		odd(below(r, pow2(top-14, 0))),
		odd(below(r, pow2(top-14, 0))),
		odd(below(r, pow2(top/2, 0))),
		odd(new(big.Int).Lsh(below(r, pow2(60, 0)), uint(top-60))), // limbs of zero in the middle
		new(big.Int).Add(pow2(top-1, 0), pow2(52, -1)),
	}
}

// operands returns numbers less than 2m that carries and borrows dislike.
func operands(r *mathrand.Rand, m *big.Int) []*big.Int {
	twice := new(big.Int).Lsh(m, 1)
	minus := func(d int64) *big.Int { return new(big.Int).Sub(m, big.NewInt(d)) }
	ones := pow2(twice.BitLen()-1, -1) // all limbs are ones
	return []*big.Int{
		new(big.Int), big.NewInt(1), minus(1), minus(0), minus(-1),
		new(big.Int).Sub(twice, big.NewInt(1)), ones,
		new(big.Int).Mod(pow2(52, -1), twice), new(big.Int).Mod(pow2(52, 0), twice),
		new(big.Int).Rsh(m, 1), below(r, m), below(r, twice),
	}
}

func TestFieldAgainstBig(t *testing.T) {
	needKernel(t)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for _, s := range allShapes {
		t.Run(fmt.Sprint(s.limbs()), func(t *testing.T) {
			f := testField(s)
			all := moduli(r, s)
			for first := 0; first < len(all); first += Lanes {
				var lanes [Lanes][]*big.Int
				for l := range Lanes {
					m := all[first+l]
					mod := newModulus(limbs(m, s.limbs()))
					f.set(l, &mod)
					lanes[l] = operands(r, m)
				}
				for i := range lanes[0] {
					for j := range lanes[0] {
						var a, b [Lanes]*big.Int
						for l := range Lanes {
							a[l], b[l] = lanes[l][i], lanes[l][j]
						}
						checkField(t, f, all[first:first+Lanes], a, b)
					}
				}
			}
		})
	}
}

// checkField compares all that a field does with math/big.
func checkField(t *testing.T, f *field, m []*big.Int, a, b [Lanes]*big.Int) {
	t.Helper()
	n := f.shape.limbs()
	r := pow2(n*limbBits, 0)
	x, y, dst := newNum(n, a), newNum(n, b), num(alignedVecs(n))
	check := func(what string, l int, dividend *big.Int) {
		t.Helper()
		got := dst.big(l)
		for i := range dst {
			if dst[i][l] > limbMask {
				t.Fatalf("%s, lane %d: limb %d is %#x", what, l, i, dst[i][l])
			}
		}
		if got.Cmp(new(big.Int).Lsh(m[l], 1)) >= 0 {
			t.Fatalf("%s, lane %d: %x is not less than twice %x", what, l, got, m[l])
		}
		// got = dividend / R mod m, where R need not have an inverse to be
		// multiplied by.
		got.Mul(got, r).Sub(got, dividend)
		if got.Mod(got, m[l]).Sign() != 0 {
			t.Fatalf("%s, lane %d: wrong modulo %x\na = %x\nb = %x\nresult %x", what, l, m[l], a[l], b[l], dst.big(l))
		}
	}
	f.mul(dst, x, y)
	for l := range Lanes {
		check("mul", l, new(big.Int).Mul(a[l], b[l]))
	}
	f.square(dst, x)
	for l := range Lanes {
		check("square", l, new(big.Int).Mul(a[l], a[l]))
	}
	copy(dst, x)
	f.square(dst, dst)
	for l := range Lanes {
		check("square in place", l, new(big.Int).Mul(a[l], a[l]))
	}
	copy(dst, x)
	f.mul(dst, dst, y)
	for l := range Lanes {
		check("mul in place", l, new(big.Int).Mul(a[l], b[l]))
	}
	wide := num(alignedVecs(2 * n))
	copy(wide, x)
	f.reduce(dst, wide)
	for l := range Lanes {
		check("reduce", l, a[l])
	}
	scratch := num(alignedVecs(n))
	for _, w := range wideFieldsFor(n) {
		clear(dst)
		inWide(t, w, f, x, y, dst)
		for l := range Lanes {
			check(fmt.Sprintf("wide mul, %+v", w.wideShape), l, new(big.Int).Mul(a[l], b[l]))
		}
	}
	f.fromMontgomery(dst, x, scratch)
	for l := range Lanes {
		check("fromMontgomery", l, a[l])
		if dst.big(l).Cmp(m[l]) >= 0 {
			t.Fatalf("fromMontgomery, lane %d: %x is not less than %x", l, dst.big(l), m[l])
		}
	}
}

// One operand may be anything less than R if the other is less than m: so does
// recombine multiply the other prime's result, and verify a result that is wrong.
func TestMulWithOperandUpToR(t *testing.T) {
	needKernel(t)
	r := mathrand.New(mathrand.NewPCG(3, 4))
	for _, s := range allShapes {
		f := testField(s)
		m := moduli(r, s)[:Lanes]
		var a, b [Lanes]*big.Int
		for l := range Lanes {
			mod := newModulus(limbs(m[l], s.limbs()))
			f.set(l, &mod)
			a[l] = pow2(s.limbs()*limbBits, -1)
			b[l] = new(big.Int).Sub(m[l], big.NewInt(1))
		}
		dst := num(alignedVecs(s.limbs()))
		check := func(what string) {
			t.Helper()
			for l := range Lanes {
				got := dst.big(l)
				if got.Cmp(new(big.Int).Lsh(m[l], 1)) >= 0 {
					t.Errorf("%s, %d limbs, lane %d: not less than 2m", what, s.limbs(), l)
				}
				got.Lsh(got, uint(s.limbs()*limbBits)).Sub(got, new(big.Int).Mul(a[l], b[l]))
				if got.Mod(got, m[l]).Sign() != 0 {
					t.Errorf("%s, %d limbs, lane %d: wrong", what, s.limbs(), l)
				}
			}
		}
		x, y := newNum(s.limbs(), a), newNum(s.limbs(), b)
		f.mul(dst, x, y)
		check("lanes")
		for _, w := range wideFieldsFor(s.limbs()) {
			inWide(t, w, f, x, y, dst)
			check("wide")
			inWide(t, w, f, y, x, dst)
			check("wide, the other way round")
		}
	}
}

func TestModulusConstants(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(5, 6))
	for _, s := range allShapes {
		for i, m := range moduli(r, s) {
			mod := newModulus(limbs(m, s.limbs()))
			radix := pow2(s.limbs()*limbBits, 0)
			lane := func(limbs []uint64) *big.Int {
				v := num(alignedVecs(len(limbs)))
				v.setLane(0, limbs)
				return v.big(0)
			}
			if want := new(big.Int).Mod(radix, m); lane(mod.one).Cmp(want) != 0 {
				t.Errorf("%d limbs, modulus %d: R mod m is wrong", s.limbs(), i)
			}
			if want := new(big.Int).Exp(radix, big.NewInt(3), m); lane(mod.r3).Cmp(want) != 0 {
				t.Errorf("%d limbs, modulus %d: R^3 mod m is wrong", s.limbs(), i)
			}
			if mod.m[0]*mod.k&limbMask != limbMask {
				t.Errorf("%d limbs, modulus %d: m * k is not -1 modulo 2^52", s.limbs(), i)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	needKernel(t)
	for _, s := range allShapes[:3] {
		f := testField(s)
		n := s.limbs()
		table := num(alignedVecs(n * tableEntries))
		for i := range table {
			for l := range Lanes {
				table[i][l] = uint64(i)<<8 | uint64(l)
			}
		}
		for shift := range tableEntries {
			var index vec
			for l := range index {
				index[l] = uint64(l*3+shift) % tableEntries
			}
			dst := num(alignedVecs(n))
			f.lookup(dst, table, []vec{index})
			for i := range dst {
				for l := range Lanes {
					if want := (index[l]*uint64(n)+uint64(i))<<8 | uint64(l); dst[i][l] != want {
						t.Fatalf("%d limbs: limb %d of lane %d is %#x, want %#x", n, i, l, dst[i][l], want)
					}
				}
			}
		}
	}
}

func FuzzField(f *testing.F) {
	needKernel(f)
	f.Add(uint8(0), []byte{1}, []byte{2}, []byte{3})
	f.Add(uint8(1), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{0xff}, []byte{0})
	f.Fuzz(func(t *testing.T, shape uint8, mb, ab, bb []byte) {
		s := allShapes[int(shape)%len(allShapes)]
		top := s.limbs()*limbBits - 2
		// What the fuzzer finds is in lane 0; the others have neighbours of it.
		var m, a, b [Lanes]*big.Int
		fl := testField(s)
		for l := range Lanes {
			m[l] = new(big.Int).SetBytes(mb)
			m[l].Lsh(m[l], uint(l)).Xor(m[l], big.NewInt(int64(l/2*2)))
			m[l].Mod(m[l], pow2(top, 0))
			m[l].SetBit(m[l], 0, 1)
			twice := new(big.Int).Lsh(m[l], 1)
			a[l] = new(big.Int).SetBytes(ab)
			a[l].Mod(a[l].Add(a[l], big.NewInt(int64(l))), twice)
			b[l] = new(big.Int).SetBytes(bb)
			b[l].Mod(b[l].Lsh(b[l], uint(l)), twice)
			mod := newModulus(limbs(m[l], s.limbs()))
			fl.set(l, &mod)
		}
		checkField(t, fl, m[:], a, b)
	})
}

func BenchmarkField(b *testing.B) {
	needKernel(b)
	r := mathrand.New(mathrand.NewPCG(7, 8))
	for _, s := range allShapes {
		f := testField(s)
		var x [Lanes]*big.Int
		for l, m := range moduli(r, s)[:Lanes] {
			mod := newModulus(limbs(m, s.limbs()))
			f.set(l, &mod)
			x[l] = below(r, m)
		}
		v := newNum(s.limbs(), x)
		b.Run(fmt.Sprintf("mul/%d", s.limbs()), func(b *testing.B) {
			for b.Loop() {
				f.mul(v, v, v)
			}
		})
		b.Run(fmt.Sprintf("square/%d", s.limbs()), func(b *testing.B) {
			for b.Loop() {
				f.square(v, v)
			}
		})
		if s.blocks > 2 {
			continue
		}
		table, index := num(alignedVecs(s.limbs()*tableEntries)), []vec{{1, 2, 3, 4, 5, 6, 7, 8}}
		b.Run(fmt.Sprintf("lookup/%d", s.limbs()), func(b *testing.B) {
			for b.Loop() {
				f.lookup(v, table, index)
			}
		})
	}
}
