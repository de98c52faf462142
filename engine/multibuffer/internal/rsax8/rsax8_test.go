package rsax8

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/jobloop/jobloop/internal/testkit"
)

// request returns a request for in, and what must come out.
func request(k *rsa.PrivateKey, key *Key, in *big.Int) (*Request, []byte) {
	out := new(big.Int).Exp(in, k.D, k.N)
	return &Request{
		Key: key,
		In:  in.FillBytes(make([]byte, k.Size())),
		Out: bytes.Repeat([]byte{0xaa}, k.Size()),
	}, out.FillBytes(make([]byte, k.Size()))
}

// check computes the requests, all together, in pairs, and one by one, and compares.
func check(t *testing.T, u *Unit, reqs []*Request, want [][]byte) {
	t.Helper()
	for _, size := range []int{len(reqs), 2, 1} {
		for first := 0; first < len(reqs); first += size {
			end := min(first+size, len(reqs))
			u.Do(reqs[first:end])
			for i, r := range reqs[first:end] {
				if !r.OK || !bytes.Equal(r.Out, want[first+i]) {
					t.Errorf("request %d of %d: OK is %v, %x became\n%x, want\n%x", i, end-first, r.OK, r.In, r.Out, want[first+i])
				}
				clear(r.Out)
			}
			for i, v := range u.memory {
				if v != (vec{}) {
					t.Fatalf("vector %d of the unit is not wiped", i)
				}
			}
		}
	}
}

func TestDo(t *testing.T) {
	needKernel(t)
	for _, bits := range []int{2048, 3072, 4096} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			u := NewUnit(bits)
			var keys [3]*rsa.PrivateKey
			var prepared [3]*Key
			for i := range keys {
				keys[i], prepared[i] = newKey(t, bits)
			}
			for n := 3; n <= Lanes; n++ {
				var reqs []*Request
				var want [][]byte
				for i := range n {
					in, err := rand.Int(rand.Reader, keys[i%3].N)
					if err != nil {
						t.Fatal(err)
					}
					r, w := request(keys[i%3], prepared[i%3], in)
					reqs, want = append(reqs, r), append(want, w)
				}
				check(t, u, reqs, want)
			}
		})
	}
}

func TestDoEdges(t *testing.T) {
	needKernel(t)
	for bits := range shapes {
		k, key := newKey(t, bits)
		p, q := k.Primes[0], k.Primes[1]
		minus := func(x *big.Int, d int64) *big.Int { return new(big.Int).Sub(x, big.NewInt(d)) }
		var reqs []*Request
		var want [][]byte
		for _, in := range []*big.Int{
			new(big.Int), big.NewInt(1), big.NewInt(2), minus(k.N, 1),
			p, minus(k.N, 0).Sub(k.N, q), // zero modulo one prime
			minus(p, 1), minus(q, 1),
		} {
			r, w := request(k, key, in)
			reqs, want = append(reqs, r), append(want, w)
		}
		check(t, NewUnit(bits), reqs, want)
	}
}

// Primes need not be half as long as the modulus each: the longest that fit are
// 14, 22 and 30 bits longer than that.
func TestDoUnusualPrimes(t *testing.T) {
	needKernel(t)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for bits, shape := range shapes {
		u := NewUnit(bits)
		longest := shape.limbs()*limbBits - 2
		lengths := []int{longest, bits - longest}
		if bits == 2048 { // they are found quickly
			lengths = append(lengths, 1024, 1030, 1018, 1023)
		}
		var reqs []*Request
		var want [][]byte
		for _, n := range lengths {
			k := keyWith(t, n, bits-n, 65537)
			req, w := request(k, prepare(t, k), below(r, k.N))
			reqs, want = append(reqs, req), append(want, w)
		}
		check(t, u, reqs, want)
	}
}

// Public exponents differ within a batch.
func TestDoPublicExponents(t *testing.T) {
	needKernel(t)
	u := NewUnit(2048)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	var reqs []*Request
	var want [][]byte
	for _, e := range []int{3, 17, 65537, 1<<31 - 1, 5} {
		k := keyWith(t, 1024, 1024, e)
		req, w := request(k, prepare(t, k), below(r, k.N))
		reqs, want = append(reqs, req), append(want, w)
	}
	check(t, u, reqs, want)
}

// keyWith makes a key of pBits+qBits bits.
func keyWith(t *testing.T, pBits, qBits, exponent int) *rsa.PrivateKey {
	t.Helper()
	one, e := big.NewInt(1), big.NewInt(int64(exponent))
	for range 1000 {
		p, err := rand.Prime(rand.Reader, pBits)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, qBits)
		if err != nil {
			t.Fatal(err)
		}
		p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
		n := new(big.Int).Mul(p, q)
		d := new(big.Int).ModInverse(e, new(big.Int).Mul(p1, q1))
		if n.BitLen() != pBits+qBits || d == nil {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: exponent}, D: d, Primes: []*big.Int{p, q}}
		k.Precomputed.Dp = new(big.Int).Mod(d, p1)
		k.Precomputed.Dq = new(big.Int).Mod(d, q1)
		k.Precomputed.Qinv = new(big.Int).ModInverse(q, p)
		return k
	}
	t.Fatal("no key found")
	return nil
}

func TestDoAllocatesNothing(t *testing.T) {
	needKernel(t)
	k, key := newKey(t, 2048)
	u := NewUnit(2048)
	var reqs []*Request
	for n := 1; n <= Lanes; n++ {
		r, _ := request(k, key, big.NewInt(2))
		reqs = append(reqs, r)
		if a := testkit.AllocsPerRun(10, func() { u.Do(reqs) }); a != 0 {
			t.Errorf("%v allocations for %d requests", a, n)
		}
	}
}

// A result that is right modulo N, but not reduced, is not one.
func TestVerifyWantsReducedResult(t *testing.T) {
	needKernel(t)
	k, key := newKey(t, 2048)
	u := NewUnit(2048)
	in := big.NewInt(2)
	r, want := request(k, key, in)
	s := new(big.Int).SetBytes(want)
	for _, add := range []*big.Int{new(big.Int), k.N} {
		u.s.setBig(0, s.Add(s, add))
		u.verify([]*Request{r})
		if r.OK != (add.Sign() == 0) {
			t.Errorf("OK is %v with N added %v", r.OK, add.Sign() != 0)
		}
	}
}

// What does not verify stays inside: here because of one wrong bit in what the
// key holds for one of its primes.
func TestFaultyResultStaysInside(t *testing.T) {
	needKernel(t)
	k, good := newKey(t, 2048)
	u := NewUnit(2048)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for name, spoil := range map[string]func(*Key){
		"exponent of p": func(key *Key) { key.p.d = flip(key.p.d, 3, 17) },
		"exponent of q": func(key *Key) { key.q.d = flip(key.q.d, 0, 1) },
		"inverse of q":  func(key *Key) { key.qInv = flip(key.qInv, 0, 0) },
		"constant of p": func(key *Key) { key.p.r3 = flip(key.p.r3, 19, 5) },
		"constant of q": func(key *Key) { key.q.k ^= 1 << 51 },
		"prime p":       func(key *Key) { key.p.m = flip(key.p.m, 7, 30) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := *good
			spoil(&bad)
			var reqs []*Request
			var want [][]byte
			for i := range 5 {
				key := good
				if i == 1 {
					key = &bad
				}
				req, w := request(k, key, below(r, k.N))
				reqs, want = append(reqs, req), append(want, w)
			}
			for _, some := range [][2]int{{0, 5}, {0, 2}, {1, 2}} { // in lanes and wide
				u.Do(reqs[some[0]:some[1]])
				for i := some[0]; i < some[1]; i++ {
					r := reqs[i]
					if i == 1 {
						if r.OK || !bytes.Equal(r.Out, make([]byte, len(r.Out))) {
							t.Errorf("a wrong result came out: OK is %v, %x", r.OK, r.Out)
						}
					} else if !r.OK || !bytes.Equal(r.Out, want[i]) {
						t.Errorf("request %d suffers from another's key", i)
					}
				}
			}
		})
	}
}

func flip(v []uint64, word, bit int) []uint64 {
	v = slices.Clone(v)
	v[word] ^= 1 << bit
	return v
}

// An input that is no residue is not In of anything.
func TestInputNotLessThanModulus(t *testing.T) {
	needKernel(t)
	k, key := newKey(t, 2048)
	for _, in := range []*big.Int{k.N, new(big.Int).Add(k.N, big.NewInt(2)), pow2(2048, -1)} {
		r, _ := request(k, key, in)
		NewUnit(2048).Do([]*Request{r})
		if r.OK {
			t.Errorf("OK for N + %v", new(big.Int).Sub(in, k.N))
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	k1024, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := keyWith(t, 1024, 1024, 65537)
	notPrecomputed := *good
	notPrecomputed.Precomputed = rsa.PrecomputedValues{}
	three := *good
	three.Primes = append(three.Primes[:2:2], big.NewInt(3))
	for name, k := range map[string]*rsa.PrivateKey{
		"1024 bits":            k1024,
		"three primes":         &three,
		"not precomputed":      &notPrecomputed,
		"prime much too large": keyWith(t, 1039, 1009, 65537),
	} {
		if _, err := NewKey(k); !errors.Is(err, ErrUnsupportedKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDoTakesOneToEight(t *testing.T) {
	for _, n := range []int{0, 9} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d requests: no panic", n)
				}
			}()
			NewUnit(2048).Do(make([]*Request, n))
		}()
	}
}

func BenchmarkDo(b *testing.B) {
	needKernel(b)
	for _, bits := range []int{2048, 3072, 4096} {
		k, key := newKey(b, bits)
		u := NewUnit(bits)
		for n := 1; n <= Lanes; n++ {
			b.Run(fmt.Sprintf("rsa%d/%d", bits, n), func(b *testing.B) {
				var reqs []*Request
				for range n {
					in, err := rand.Int(rand.Reader, k.N)
					if err != nil {
						b.Fatal(err)
					}
					r, _ := request(k, key, in)
					reqs = append(reqs, r)
				}
				for b.Loop() {
					u.Do(reqs)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N*n), "us/signature")
			})
		}
		digest := make([]byte, 32)
		b.Run(fmt.Sprintf("rsa%d/crypto-rsa", bits), func(b *testing.B) {
			for b.Loop() {
				if _, err := rsa.SignPKCS1v15(nil, k, 5, digest); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("rsa%d/new-key", bits), func(b *testing.B) {
			for b.Loop() {
				if _, err := NewKey(k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
