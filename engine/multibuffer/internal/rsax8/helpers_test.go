package rsax8

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
)

// needKernel skips, aloud, where the kernel does not run.
func needKernel(t testing.TB) {
	t.Helper()
	if !Supported() {
		t.Skip("this CPU has no AVX-512 IFMA")
	}
}

func newKey(t testing.TB, bits int) (*rsa.PrivateKey, *Key) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k, prepare(t, k)
}

func prepare(t testing.TB, k *rsa.PrivateKey) *Key {
	t.Helper()
	key, err := NewKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// setBig sets a lane, which must have room for x.
func (v num) setBig(lane int, x *big.Int) { v.setLane(lane, limbs(x, len(v))) }

// big returns a lane, whose limbs may be of more than 52 bits.
func (v num) big(lane int) *big.Int {
	x := new(big.Int)
	for i := len(v) - 1; i >= 0; i-- {
		x.Lsh(x, limbBits)
		x.Add(x, new(big.Int).SetUint64(v[i][lane]))
	}
	return x
}

// pow2 returns 2^n + d.
func pow2(n int, d int64) *big.Int {
	x := new(big.Int).Lsh(big.NewInt(1), uint(n))
	return x.Add(x, big.NewInt(d))
}

func below(r *mathrand.Rand, m *big.Int) *big.Int {
	b := make([]byte, (m.BitLen()+7)/8+8)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return new(big.Int).Mod(new(big.Int).SetBytes(b), m)
}

// testField is a field with its own memory.
func testField(s fieldShape) *field {
	free := alignedVecs(fieldVecs(s.limbs()))
	f := new(field)
	f.init(s, func(n int) (v num) {
		v, free = free[:n:n], free[n:]
		return v
	})
	f.reset()
	return f
}

// newNum returns the number with x in its lanes.
func newNum(limbs int, x [Lanes]*big.Int) num {
	v := num(alignedVecs(limbs))
	for l, y := range x {
		v.setBig(l, y)
	}
	return v
}
