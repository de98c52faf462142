package rsax8

import "math/bits"

// One or two requests leave most lanes empty, and a pass of the kernel takes as long
// for them as for four. So they are computed in wide numbers, whose limbs lie side by
// side in the lanes. Three requests would take longer in this way than in lanes.

// maxWide is the most requests that are computed in wide numbers.
const maxWide = 2

// wideField is arithmetic in wide numbers: modulo the two primes of a request, or of
// two requests, or modulo one modulus. R and the bounds of numbers are those of field.
type wideField struct {
	wideShape
	kernel wideKernel
	stride int // vectors in a num

	memory   []vec
	m        num
	k        num // a vector for each request: -1/m mod 2^52
	one, r3  num // R and R^3 mod m
	plainOne num // 1
	acc, x   num
	index    num // a vector for each request
	table    num // tableEntries numbers, one after the other; only for primes
}

// wideShape is what there is in a num of a wideField.
type wideShape struct {
	limbs    int // of each number
	numbers  int // that share vectors, limb by limb: 2 primes or 1 modulus
	requests int // which follow each other
}

// wideKernel has the functions for one shape.
type wideKernel struct {
	vectors int // for a request
	amm     func(dst, a, b, m, k *vec, rows int)
	sel     func(dst, table, index *vec, entries, stride int)
}

var wideKernels = map[wideShape]wideKernel{
	{20, 2, 1}: {5, ammPair5, sel5},
	{20, 2, 2}: {5, ammPair5Twice, sel5},
	{40, 1, 1}: {5, ammSingle5, nil},
	{30, 2, 1}: {8, ammPair8, sel8},
	{60, 1, 1}: {8, ammSingle8, nil},
	{40, 2, 1}: {10, ammPair10, sel10},
	{80, 1, 1}: {10, ammSingle10, nil},
}

// vecs returns how many vectors a field of the shape needs.
func (s wideShape) vecs() int {
	n := 6 // numbers
	if s.numbers == 2 {
		n += tableEntries
	}
	return s.requests * (n*wideKernels[s].vectors + 2)
}

// init divides memory, which may be in use for something else between calls of reset.
// It does nothing if there is no kernel for the shape.
func (f *wideField) init(s wideShape, memory []vec) {
	kernel, ok := wideKernels[s]
	if !ok {
		return
	}
	*f = wideField{wideShape: s, kernel: kernel, stride: s.requests * kernel.vectors}
	f.memory = memory[:s.vecs()]
	free := f.memory
	take := func(vectors int) (v num) {
		v, free = num(free[:vectors:vectors]), free[vectors:]
		return v
	}
	for _, v := range []*num{&f.m, &f.one, &f.r3, &f.plainOne, &f.acc, &f.x} {
		*v = take(f.stride)
	}
	f.k, f.index, f.table = take(s.requests), take(s.requests), num(free)
}

// reset prepares the memory.
func (f *wideField) reset() {
	clear(f.memory)
	for r := range f.requests {
		for i := range f.numbers {
			f.plainOne[r*f.kernel.vectors][i] = 1
		}
	}
}

// setField takes the modulus of number i of a request from a lane of g.
func (f *wideField) setField(request, i int, g *field, lane int) {
	f.k[request][i] = g.k[0][lane]
	f.set(f.m, request, i, g.m, lane)
	f.set(f.one, request, i, g.one, lane)
	f.set(f.r3, request, i, g.r3, lane)
}

// set sets number i of a request in v to a lane of w.
func (f *wideField) set(v num, request, i int, w num, lane int) {
	v = v[request*f.kernel.vectors:]
	for limb := range f.limbs {
		at := limb*f.numbers + i
		v[at/Lanes][at%Lanes] = w[limb][lane]
	}
}

// get sets a lane of w to number i of a request in v.
func (f *wideField) get(w num, lane int, v num, request, i int) {
	v = v[request*f.kernel.vectors:]
	for limb := range f.limbs {
		at := limb*f.numbers + i
		w[limb][lane] = v[at/Lanes][at%Lanes]
	}
}

// mul sets dst = a * b / R mod m.
func (f *wideField) mul(dst, a, b num) {
	f.kernel.amm(&dst[0], &a[0], &b[0], &f.m[0], &f.k[0], f.limbs)
}

// square sets dst = a * a / R mod m.
func (f *wideField) square(dst, a num) { f.mul(dst, a, a) }

// lookup sets each number of dst to its entry of the table.
func (f *wideField) lookup(dst, table num, index []vec) {
	for r := range f.requests {
		at := r * f.kernel.vectors
		f.kernel.sel(&dst[at], &table[at], &index[r], tableEntries, f.stride*vecBytes)
	}
}

// wideFields are a Unit's fields for few requests. Their memory is that of the table,
// which these do not need.
type wideFields struct {
	one, two wideField // primes of one request and of two
	modulus  wideField // of one request
}

func (w *wideFields) init(limbs int, memory []vec) {
	w.one.init(wideShape{limbs, 2, 1}, memory)
	w.two.init(wideShape{limbs, 2, 2}, memory)
	w.modulus.init(wideShape{2 * limbs, 1, 1}, memory)
}

// raiseWide sets acc to x to the power of the exponents of n requests. The lanes of
// the primes p come first, and then those of the primes q.
func (u *Unit) raiseWide(n, length int) {
	f := &u.wide.one
	if n == 2 && u.wide.two.requests == 2 {
		f = &u.wide.two
	}
	for first := 0; first < n; first += f.requests {
		f.reset()
		var from [maxWide][Lanes]int
		for r := range f.requests {
			for i := range from[r] {
				from[r][i] = first + r + i%2*n
			}
			for i, lane := range from[r][:2] {
				f.setField(r, i, &u.prime, lane)
				f.set(f.x, r, i, u.x, lane)
			}
		}
		p := power{f, f.acc, f.x, f.one, f.table, f.index}
		p.raise(u.exponent, from[:], length)
		for r := range f.requests {
			for i, lane := range from[r][:2] {
				f.get(u.acc, lane, f.acc, r, i)
			}
		}
	}
}

// raisePublicWide does what raisePublic does, for one lane.
func (u *Unit) raisePublicWide(lane int, e uint64) {
	f := &u.wide.modulus
	f.reset()
	f.setField(0, 0, &u.modulus, lane)
	f.set(f.x, 0, 0, u.s, lane)
	f.mul(f.x, f.x, f.r3)       // s * R^2
	f.mul(f.x, f.x, f.plainOne) // s * R
	copy(f.acc, f.one)
	for b := bits.Len64(e) - 1; b >= 0; b-- {
		f.square(f.acc, f.acc)
		if e>>b&1 == 1 { // exponents are public
			f.mul(f.acc, f.acc, f.x)
		}
	}
	f.mul(f.acc, f.acc, f.plainOne)
	f.get(u.sPower, lane, f.acc, 0, 0)
}
