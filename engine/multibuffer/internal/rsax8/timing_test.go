package rsax8

import (
	"crypto/rand"
	"fmt"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkTiming compares the time of two classes of operations that take
// turns at random, as dudect does (O. Reparaz, J. Balasch, I. Verbauwhede, Dude,
// is my code constant time?, 2017). Its metric is Welch's t: beyond 4.5, either
// way, the classes are told apart. Give it -benchtime 10000x or more.
func BenchmarkTiming(b *testing.B) {
	needKernel(b)
	k1, key1 := newKey(b, 2048)
	k2, key2 := newKey(b, 2048)
	random := func(key *Key, n *big.Int) func() *Request {
		out := make([]byte, 256)
		return func() *Request {
			in, err := rand.Int(rand.Reader, n)
			if err != nil {
				b.Fatal(err)
			}
			return &Request{Key: key, In: in.FillBytes(make([]byte, 256)), Out: out}
		}
	}
	// What comes before leaves traces in the caches, so it must be the same work.
	fixed := func(key *Key, n, in *big.Int) func() *Request {
		prepare := random(key, n)
		return func() *Request {
			r := prepare()
			in.FillBytes(r.In)
			return r
		}
	}
	for name, classes := range map[string][2]func() *Request{
		"message-random-or-2":      {random(key1, k1.N), fixed(key1, k1.N, big.NewInt(2))},
		"message-random-or-p":      {random(key1, k1.N), fixed(key1, k1.N, k1.Primes[0])},
		"key-1-or-2":               {random(key1, k1.N), random(key2, k2.N)},
		"same-class-for-reference": {random(key1, k1.N), random(key1, k1.N)},
	} {
		for _, n := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				u := NewUnit(2048)
				var times [2][]float64
				for range b.N {
					class := mathrand.IntN(2)
					reqs := make([]*Request, n)
					for i := range reqs {
						reqs[i] = classes[class]()
					}
					begin := time.Now()
					u.Do(reqs)
					times[class] = append(times[class], float64(time.Since(begin)))
				}
				all := slices.Sorted(slices.Values(append(slices.Clone(times[0]), times[1]...)))
				limit := all[len(all)*9/10] // what interrupts the process is no news
				b.ReportMetric(welch(below90(times[0], limit), below90(times[1], limit)), "t")
			})
		}
	}
}

func below90(v []float64, limit float64) []float64 {
	return slices.DeleteFunc(slices.Clone(v), func(x float64) bool { return x > limit })
}

func welch(a, b []float64) float64 {
	mean := func(v []float64) (m, variance float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		for _, x := range v {
			variance += (x - m) * (x - m) / float64(len(v)-1)
		}
		return m, variance
	}
	ma, va := mean(a)
	mb, vb := mean(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}
