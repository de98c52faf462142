// Package rsax8 computes RSA private-key operations for up to eight requests
// together, in constant time. Each works in its own 64-bit lane of AVX-512
// registers.
//
// An operation is computed modulo each prime, combined by the Chinese remainder
// theorem (RFC 8017, section 5.1.2, 2.b), and verified with the public exponent.
// There is one exponentiation for each prime of each request, and the kernel does
// eight at a time. So up to four requests take one pass, and more take two. One or two
// requests would leave most lanes empty. They are computed in wide numbers, whose limbs
// lie side by side in the lanes.
//
// # Constant time
//
// Only the contents of the lanes depend on a key or a message. No branch, index or
// address does. The kernel's instructions take the same time for all operands.
// To look up an entry of the table for a window of the exponent, all entries are
// read. The last subtraction is always computed, and applied through a mask.
// Branches depend only on public values: the size of the keys, the length of their
// primes, the number of requests, the public exponent, and whether a result
// verifies.
//
// Three checks confirm this:
//
//   - TestAssemblyIsConstantTime reads the assembly. It allows only instructions
//     of a short list. No vector may reach a general register, and addresses and
//     branches may depend only on arguments and counts.
//   - TestTraceIsTheSame traces operations instruction by instruction, including
//     the Go code. It expects the same trace for different keys and messages, with
//     2048 and 3072 bits, and with few requests and many. By default it uses short
//     exponents, for which the loops are the same.
//   - BenchmarkTiming compares the time of whole operations statistically.
//
// Two things have to be checked by reading: that the Go code indexes only by loop
// variables and lanes, and NewKey. (The trace covers NewKey's arithmetic.)
//
// Working memory, vector and mask registers are wiped after each call. The stack is not:
// Go may have left limbs there, and the kernel the registers when a signal came.
package rsax8

import (
	"math/bits"
)

//go:generate go run -C gen . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg rsax8

// Lanes is the most requests in one call of Do. PerPass requests, with two primes
// each, fill the lanes once; more take twice as long.
const (
	Lanes   = 8
	PerPass = Lanes / 2
)

// Request is one private-key operation.
type Request struct {
	Key *Key
	In  []byte // Key.Size() bytes, big-endian, less than the modulus
	Out []byte // Key.Size() bytes for In^d mod N
	OK  bool   // set by Do: Out is correct, that is Out^e mod N is In
}

// Unit is the memory for operations with keys of one size. It is for one goroutine
// at a time.
type Unit struct {
	prime, modulus field
	wide           wideFields
	memory         []vec // backs the fields and all the numbers below

	exponent       []vec // of each lane, 64 bits in each vector
	index          num   // one vector: the table entry of each lane
	table          num   // powers, one after the other
	acc, x         num
	p, q, mp, mq   num
	qInv           num
	c, s           num // these and the following have the size of the modulus
	sMont, sPower  num
	product, other num
}

// NewUnit returns a Unit for keys of 2048, 3072 or 4096 bits.
func NewUnit(bits int) *Unit {
	shape := shapes[bits]
	n := shape.limbs()
	u := &Unit{}
	u.memory = alignedVecs(n*(tableEntries+20) + 1 + fieldVecs(n) + fieldVecs(2*n))
	free := u.memory
	take := func(limbs int) (v num) {
		v, free = num(free[:limbs:limbs]), free[limbs:]
		return v
	}
	u.prime.init(shape, take)
	u.modulus.init(fieldShape{shape.block, 2 * shape.blocks}, take)
	u.exponent = take(n)
	u.index = take(1)
	u.table = take(n * tableEntries)
	u.wide.init(n, u.table)
	for _, v := range []*num{&u.acc, &u.x, &u.p, &u.q, &u.mp, &u.mq, &u.qInv} {
		*v = take(n)
	}
	for _, v := range []*num{&u.c, &u.s, &u.sMont, &u.sPower, &u.product, &u.other} {
		*v = take(2 * n)
	}
	return u
}

// half is a request modulo one of its primes.
type half struct {
	request *Request
	prime   *prime
	lane    int // the request's lane in result
	result  num
}

// Do computes 1 to 8 requests, which may have different keys of the Unit's size,
// and wipes the memory it has used. If a request is not OK, its Out is zero.
func (u *Unit) Do(reqs []*Request) {
	if len(reqs) == 0 || len(reqs) > Lanes {
		panic("rsax8: not 1 to 8 requests")
	}
	defer u.wipe() // even after a panic
	var halves [2 * Lanes]half
	for i, r := range reqs {
		halves[i] = half{r, &r.Key.p, i, u.mp}
		halves[len(reqs)+i] = half{r, &r.Key.q, i, u.mq}
	}
	all := halves[:2*len(reqs)]
	if len(all) <= Lanes {
		u.exponentiate(all, len(reqs) <= maxWide)
	} else {
		u.exponentiate(all[:len(reqs)], false)
		u.exponentiate(all[len(reqs):], false)
	}
	u.recombine(reqs)
	u.verify(reqs)
}

func (u *Unit) wipe() {
	clear(u.memory)
	wipeAll()
}

// wipeAll is wipeRegisters. Tests replace it.
var wipeAll = wipeRegisters

// exponentiate sets the lanes of the halves' results to In^d modulo the prime.
func (u *Unit) exponentiate(halves []half, wide bool) {
	f := &u.prime
	f.reset()
	clear(u.exponent)
	clear(u.c)
	length := 0 // of exponents, in bits
	for i, h := range halves {
		f.set(i, &h.prime.modulus)
		u.c.setBytes(i, h.request.In)
		for j, w := range h.prime.d {
			u.exponent[j][i] = w
		}
		length = max(length, h.request.Key.primeBits)
	}
	// In is less than N, so In/R is less than a prime, and reduce leaves less than
	// two primes. It divides by R, and so does the product with R^3: In*R is left.
	f.reduce(u.x, u.c)
	f.mul(u.x, u.x, f.r3)
	if wide {
		u.raiseWide(len(halves)/2, length)
	} else {
		p := power{f, u.acc, u.x, f.one, u.table, u.index}
		p.raise(u.exponent, [][Lanes]int{{0, 1, 2, 3, 4, 5, 6, 7}}, length)
	}
	f.fromMontgomery(u.acc, u.acc, u.x)
	for i, h := range halves {
		h.result.copyLane(h.lane, u.acc, i)
	}
}

// recombine sets s = mq + q * ((mp - mq) / q mod p).
func (u *Unit) recombine(reqs []*Request) {
	f := &u.prime
	f.reset()
	clear(u.q)
	clear(u.qInv)
	for i, r := range reqs {
		f.set(i, &r.Key.p.modulus)
		u.q.setLane(i, r.Key.q.m)
		u.qInv.setLane(i, r.Key.qInv)
	}
	// Products are less than 2p, even the one with mq, which may be more than p but
	// is less than R. So the difference plus 2p is between 0 and 4p.
	f.mul(u.mp, u.mp, u.qInv)
	f.mul(u.x, u.mq, u.qInv)
	twice(u.acc, f.m)
	u.mp.add(u.acc)
	u.mp.subtract(u.x)
	u.mp.subtractIfNotLess(u.acc, u.x)
	u.mp.subtractIfNotLess(f.m, u.x)
	f.shape.product(u.product, u.mp, u.q)
	for i := range u.mq {
		for l := range Lanes {
			u.product[i][l] += u.mq[i][l]
		}
	}
	normalize(u.s, u.product)
}

// verify computes s^e mod N, compares it with the request's In, and writes the
// results that are correct. A result that is wrong modulo only one prime would
// reveal the key (Boneh, DeMillo, Lipton, 1997), so it is never written.
func (u *Unit) verify(reqs []*Request) {
	f := &u.modulus
	f.reset()
	clear(u.c)
	for i, r := range reqs {
		f.set(i, &r.Key.n)
		u.c.setBytes(i, r.In)
	}
	if len(reqs) <= maxWide {
		for i, r := range reqs {
			u.raisePublicWide(i, r.Key.e)
		}
	} else {
		u.raisePublic(reqs)
	}
	less := u.other.difference(u.s, f.m) // s must also be less than N
	for i, r := range reqs {
		r.OK = u.sPower.equalLane(u.c, i) && less[i] == 1
		if r.OK {
			u.s.bytes(i, r.Out)
		} else {
			clear(r.Out)
		}
	}
}

// raisePublic sets sPower to s^e mod N. It may be N instead of 0, if s is N: but then s is
// not less than N.
func (u *Unit) raisePublic(reqs []*Request) {
	f := &u.modulus
	f.mul(u.sMont, u.s, f.r3)           // s * R^2
	f.mul(u.sMont, u.sMont, f.plainOne) // s * R
	copy(u.sPower, f.one)
	length := 0
	for _, r := range reqs {
		length = max(length, bits.Len64(r.Key.e))
	}
	for b := length - 1; b >= 0; b-- {
		f.square(u.sPower, u.sPower)
		multiplied := false
		for i, r := range reqs { // exponents are public, and usually the same
			if r.Key.e>>b&1 == 0 {
				continue
			}
			if !multiplied {
				f.mul(u.other, u.sPower, u.sMont)
				multiplied = true
			}
			u.sPower.copyLane(i, u.other, i)
		}
	}
	f.mul(u.sPower, u.sPower, f.plainOne)
}
