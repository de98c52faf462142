package rsax8

import (
	"fmt"
	"math/big"
	"testing"
)

// wideFieldsFor returns fields for all shapes with numbers of so many limbs.
func wideFieldsFor(limbs int) (all []*wideField) {
	for shape := range wideKernels {
		if shape.limbs == limbs {
			f := new(wideField)
			f.init(shape, alignedVecs(shape.vecs()))
			all = append(all, f)
		}
	}
	return all
}

// inWide sets dst = x * y / R in all lanes, computed in w with the moduli of f.
func inWide(t *testing.T, w *wideField, f *field, x, y, dst num) {
	t.Helper()
	for first := 0; first < Lanes; first += w.requests * w.numbers {
		w.reset()
		each := func(do func(request, i, lane int)) {
			for r := range w.requests {
				for i := range w.numbers {
					do(r, i, first+r*w.numbers+i)
				}
			}
		}
		each(func(r, i, lane int) {
			w.setField(r, i, f, lane)
			w.set(w.acc, r, i, x, lane)
			w.set(w.x, r, i, y, lane)
		})
		w.mul(w.acc, w.acc, w.x)
		each(func(r, i, lane int) { w.get(dst, lane, w.acc, r, i) })
		for r := range w.requests { // nothing above the numbers
			for at := w.limbs * w.numbers; at < w.kernel.vectors*Lanes; at++ {
				if x := w.acc[r*w.kernel.vectors+at/Lanes][at%Lanes]; x != 0 {
					t.Fatalf("%+v: %#x above the highest limb", w.wideShape, x)
				}
			}
		}
	}
}

// Two requests of 2048 bits are computed at once: the memory for two is used.
func TestTwoAtOnce(t *testing.T) {
	needKernel(t)
	k, key := newKey(t, 2048)
	u := NewUnit(2048)
	used := false
	two := &u.wide.two
	kernel := two.kernel.amm
	two.kernel.amm = func(dst, a, b, m, k *vec, rows int) {
		used = true
		kernel(dst, a, b, m, k, rows)
	}
	r1, _ := request(k, key, big.NewInt(2))
	r2, _ := request(k, key, big.NewInt(3))
	if u.Do([]*Request{r1, r2}); !used || !r1.OK || !r2.OK {
		t.Errorf("at once %v, results %v and %v", used, r1.OK, r2.OK)
	}
}

func TestWideLookup(t *testing.T) {
	needKernel(t)
	for shape := range wideKernels {
		if shape.numbers == 1 {
			continue
		}
		f := new(wideField)
		f.init(shape, alignedVecs(shape.vecs()))
		for i := range f.table {
			for l := range Lanes {
				f.table[i][l] = uint64(i)<<8 | uint64(l)
			}
		}
		for shift := range tableEntries {
			for i := range f.index {
				for l := range Lanes {
					f.index[i][l] = uint64(l*3+i*5+shift) % tableEntries
				}
			}
			f.lookup(f.acc, f.table, f.index)
			for i := range f.acc {
				for l := range Lanes {
					entry := f.index[i/f.kernel.vectors][l]
					if want := (entry*uint64(f.stride)+uint64(i))<<8 | uint64(l); f.acc[i][l] != want {
						t.Fatalf("%+v: lane %d of vector %d is %#x, want %#x", shape, l, i, f.acc[i][l], want)
					}
				}
			}
		}
	}
}

func BenchmarkWide(b *testing.B) {
	needKernel(b)
	for _, s := range allShapes {
		for _, f := range wideFieldsFor(s.limbs()) {
			f.reset()
			b.Run(fmt.Sprintf("%dx%dx%d", f.limbs, f.numbers, f.requests), func(b *testing.B) {
				for b.Loop() {
					f.mul(f.acc, f.acc, f.acc)
				}
			})
		}
	}
}
