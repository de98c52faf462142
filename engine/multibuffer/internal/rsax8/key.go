package rsax8

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// ErrUnsupportedKey is returned by NewKey for a key that the kernel cannot use.
var ErrUnsupportedKey = errors.New("cannot be computed in lanes")

// Key is an RSA private key in the form that the kernel needs. It does not change
// after NewKey, and any number of Units may use it.
type Key struct {
	size      int // of the modulus in bytes
	primeBits int // of the longer prime
	e         uint64
	n         modulus
	p, q      prime
	qInv      []uint64 // 1/q * R mod p
}

// prime is one of a key's two primes.
type prime struct {
	modulus
	d []uint64 // exponent, in words of 64 bits, the lowest first
}

// modulus is a number m with the values that a field needs to compute modulo m.
type modulus struct {
	m       []uint64 // limbs
	k       uint64   // -1/m mod 2^52
	one, r3 []uint64 // R and R^3 mod m
}

// NewKey prepares a key of 2048, 3072 or 4096 bits with two primes. The key must
// be valid. NewKey, too, handles secret values in constant time.
func NewKey(k *rsa.PrivateKey) (*Key, error) {
	bits := k.N.BitLen()
	shape, ok := shapes[bits]
	if !ok {
		return nil, fmt.Errorf("%w: %d bits, not 2048, 3072 or 4096", ErrUnsupportedKey, bits)
	}
	if len(k.Primes) != 2 {
		return nil, fmt.Errorf("%w: %d primes, not 2", ErrUnsupportedKey, len(k.Primes))
	}
	if k.Precomputed.Dp == nil || k.Precomputed.Dq == nil || k.Precomputed.Qinv == nil {
		return nil, fmt.Errorf("%w: Precompute has not been called", ErrUnsupportedKey)
	}
	n := shape.limbs()
	p, q := k.Primes[0], k.Primes[1]
	key := &Key{
		size:      k.Size(),
		primeBits: max(p.BitLen(), q.BitLen()),
		e:         uint64(k.E),
	}
	if key.primeBits > n*limbBits-2 {
		return nil, fmt.Errorf("%w: a prime of %d bits in a key of %d", ErrUnsupportedKey, key.primeBits, bits)
	}
	key.n = newModulus(limbs(k.N, 2*n))
	key.p = prime{newModulus(limbs(p, n)), words(k.Precomputed.Dp, n)}
	key.q = prime{newModulus(limbs(q, n)), words(k.Precomputed.Dq, n)}
	key.qInv = limbs(k.Precomputed.Qinv, n)
	for range n * limbBits {
		doubleMod(key.qInv, key.p.m)
	}
	return key, nil
}

// Size returns the length of the modulus in bytes.
func (k *Key) Size() int { return k.size }

// Bits returns the length of the modulus in bits.
func (k *Key) Bits() int { return 8 * k.size }

// newModulus computes the values of an odd modulus.
func newModulus(m []uint64) modulus {
	inv := m[0] // correct modulo 8, since odd squares are 1 there; each step doubles the correct bits
	for range 5 {
		inv *= 2 - m[0]*inv
	}
	mod := modulus{m: m, k: -inv & limbMask}
	x := make([]uint64, len(m))
	x[0] = 1
	for range len(m) * limbBits {
		doubleMod(x, m)
	}
	mod.one = append([]uint64(nil), x...)
	for range 2 * len(m) * limbBits {
		doubleMod(x, m)
	}
	mod.r3 = x
	return mod
}

// doubleMod sets x = 2x mod m, if x < m.
func doubleMod(x, m []uint64) {
	var carry, borrow uint64
	for i := range x { // 2x, and whether 2x - m is negative
		d := x[i]<<1 | carry
		x[i], carry = d&limbMask, d>>limbBits
		borrow = (x[i] - m[i] - borrow) >> 63
	}
	take := borrow - 1 // all ones if 2x - m is not negative
	borrow = 0
	for i := range x {
		d := x[i] - m[i]&take - borrow
		x[i], borrow = d&limbMask, d>>63
	}
}

// limbs returns x as n limbs.
func limbs(x *big.Int, n int) []uint64 {
	b := x.FillBytes(make([]byte, (n*limbBits+7)/8))
	defer clear(b)
	v := make([]uint64, n)
	for i := range v {
		v[i] = limbOf(b, i)
	}
	return v
}

// words returns x as 64-bit words, as many as n limbs need.
func words(x *big.Int, n int) []uint64 {
	size := (n*limbBits + 63) / 64
	b := x.FillBytes(make([]byte, 8*size))
	defer clear(b)
	v := make([]uint64, size)
	for i := range v {
		for _, c := range b[8*(size-1-i) : 8*(size-i)] {
			v[i] = v[i]<<8 | uint64(c)
		}
	}
	return v
}
