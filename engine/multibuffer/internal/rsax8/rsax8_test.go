package rsax8

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"testing"
)

func testKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDo(t *testing.T) {
	if !Supported() {
		t.Skip("this CPU has no AVX-512 IFMA")
	}
	for _, bits := range []int{2048, 3072, 4096} {
		u := NewUnit(bits)
		var keys []*rsa.PrivateKey
		var prepared []*Key
		for range 3 {
			k := testKey(t, bits)
			p, err := NewKey(k)
			if err != nil {
				t.Fatal(err)
			}
			keys, prepared = append(keys, k), append(prepared, p)
		}
		for n := 1; n <= 8; n++ {
			var reqs []*Request
			var want [][]byte
			for i := range n {
				k := keys[i%3]
				in, _ := rand.Int(rand.Reader, k.N)
				out := new(big.Int).Exp(in, k.D, k.N)
				want = append(want, out.FillBytes(make([]byte, bits/8)))
				reqs = append(reqs, &Request{Key: prepared[i%3], In: in.FillBytes(make([]byte, bits/8)), Out: make([]byte, bits/8)})
			}
			u.Do(reqs)
			for i, r := range reqs {
				if !r.OK || !bytes.Equal(r.Out, want[i]) {
					t.Fatalf("%d bits, request %d of %d: OK %v", bits, i, n, r.OK)
				}
			}
		}
	}
}

func BenchmarkDo(b *testing.B) {
	for _, bits := range []int{2048, 3072, 4096} {
		k := testKey(b, bits)
		p, err := NewKey(k)
		if err != nil {
			b.Fatal(err)
		}
		u := NewUnit(bits)
		for _, n := range []int{1, 4, 5, 8} {
			b.Run(fmt.Sprintf("rsa%d/%d", bits, n), func(b *testing.B) {
				var reqs []*Request
				for range n {
					in, _ := rand.Int(rand.Reader, k.N)
					reqs = append(reqs, &Request{Key: p, In: in.FillBytes(make([]byte, bits/8)), Out: make([]byte, bits/8)})
				}
				for b.Loop() {
					u.Do(reqs)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/signature")
			})
		}
		b.Run(fmt.Sprintf("rsa%d/crypto-rsa", bits), func(b *testing.B) {
			d := make([]byte, 32)
			for b.Loop() {
				k.Sign(rand.Reader, d, &rsa.PSSOptions{Hash: 5})
			}
		})
		b.Run(fmt.Sprintf("rsa%d/new-key", bits), func(b *testing.B) {
			for b.Loop() {
				NewKey(k)
			}
		})
	}
}
