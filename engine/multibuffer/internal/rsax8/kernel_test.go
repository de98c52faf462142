//go:build amd64 && !purego

package rsax8

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func putLane(v [][8]uint64, lane int, x *big.Int) {
	x = new(big.Int).Set(x)
	m := big.NewInt(1<<52 - 1)
	for i := range v {
		v[i][lane] = new(big.Int).And(x, m).Uint64()
		x.Rsh(x, 52)
	}
	if x.Sign() != 0 {
		panic("too large")
	}
}

func getLane(v [][8]uint64, lane int) *big.Int {
	x := new(big.Int)
	for i := len(v) - 1; i >= 0; i-- {
		x.Lsh(x, 52)
		x.Add(x, new(big.Int).SetUint64(v[i][lane]))
	}
	return x
}

func randBig(r *rand.Rand, bits int) *big.Int {
	b := make([]byte, bits/8)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return new(big.Int).SetBytes(b)
}

func TestAMM(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		a, b, m, k, d, tt := alignedVecs(20), alignedVecs(20), alignedVecs(20), alignedVecs(1), alignedVecs(20), alignedVecs(40)
		var M, A, B [8]*big.Int
		for l := range 8 {
			M[l] = randBig(r, 1024)
			M[l].SetBit(M[l], 0, 1)
			A[l] = randBig(r, 1024)
			B[l] = randBig(r, 1024)
			putLane(a, l, A[l])
			putLane(b, l, B[l])
			putLane(m, l, M[l])
			w := new(big.Int).Lsh(big.NewInt(1), 52)
			inv := new(big.Int).ModInverse(M[l], w)
			k[0][l] = inv.Sub(w, inv).Uint64()
		}
		check := func(x, y [8]*big.Int) {
			t.Helper()
			for l := range 8 {
				ri := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 1040), M[l])
				if ri == nil {
					continue
				}
				want := new(big.Int).Mul(x[l], y[l])
				want.Mul(want, ri).Mod(want, M[l])
				got := getLane(d, l)
				got.Mod(got, M[l])
				if got.Cmp(want) != 0 {
					t.Fatalf("lane %d: %x want %x", l, got, want)
				}
			}
		}
		amm20(&d[0], &a[0], &b[0], &m[0], &k[0])
		check(A, B)
		ams20(&d[0], &a[0], &m[0], &k[0], &tt[0])
		check(A, A)
	}
}

func BenchmarkKernel(b *testing.B) {
	v := alignedVecs(40 * 32)
	for i := range v {
		for l := range 8 {
			v[i][l] = rand.Uint64() >> 12
		}
	}
	b.Run("amm20", func(b *testing.B) {
		for b.Loop() {
			amm20(&v[0], &v[0], &v[40], &v[80], &v[120])
		}
	})
	b.Run("ams20", func(b *testing.B) {
		for b.Loop() {
			ams20(&v[0], &v[0], &v[80], &v[120], &v[160])
		}
	})
	b.Run("ams20x2", func(b *testing.B) {
		for b.Loop() {
			ams20(&v[0], &v[0], &v[80], &v[120], &v[160])
			ams20(&v[200], &v[200], &v[280], &v[220], &v[360])
		}
	})
	for range 8 {
		v[0] = [8]uint64{1, 2, 3, 4, 5, 6, 7, 8}
	}
	b.Run("sel20", func(b *testing.B) {
		for b.Loop() {
			sel20(&v[40], &v[80], &v[0], 16, 1280)
		}
	})
	b.Run("sqr20", func(b *testing.B) {
		for b.Loop() {
			sqr20(&v[40], &v[0])
		}
	})
	b.Run("mul20", func(b *testing.B) {
		for b.Loop() {
			mul20(&v[40], &v[0], &v[120])
		}
	})
	b.Run("red20", func(b *testing.B) {
		for b.Loop() {
			red20(&v[40], &v[0], &v[120], &v[160])
		}
	})
}
