package rsax8

// fieldShape is how the numbers of a field are divided: into blocks of 15 or 20
// limbs, the sizes that the kernel multiplies.
type fieldShape struct {
	block, blocks int
}

func (s fieldShape) limbs() int { return s.block * s.blocks }

// shapes has the shapes of the primes, by the size of the key in bits. R is
// 2^(52*limbs). It has 16, 24 or 32 bits more than a prime of half the key's size.
var shapes = map[int]fieldShape{
	2048: {20, 1},
	3072: {15, 2},
	4096: {20, 2},
}

// field is arithmetic modulo a number of each lane, in Montgomery form: x is
// stored as x*R mod m, or that plus m. (P. Montgomery, Modular multiplication
// without trial division, 1985. Leaving out the final subtraction is S. Gueron's
// "almost Montgomery multiplication".)
//
// The results of mul and square are less than 2m if 4m < R and the operands are
// small enough: either both are less than 2m, or one is less than m and the other
// less than R.
type field struct {
	shape    fieldShape
	m        num
	k        num // one vector: -1/m mod 2^52
	one, r3  num // R and R^3 mod m
	plainOne num // 1

	t     num // columns of a product
	q     num // quotient of a block
	twice num // double of a block
}

// fieldVecs returns a number of vectors that is enough for init.
func fieldVecs(limbs int) int { return 8*limbs + 1 }

// init allocates the field's numbers with take.
func (f *field) init(s fieldShape, take func(limbs int) num) {
	n := s.limbs()
	*f = field{
		shape: s, m: take(n), k: take(1), one: take(n), r3: take(n), plainOne: take(n),
		t: take(2 * n), q: take(s.block), twice: take(s.block),
	}
}

// reset removes the moduli. A lane without one works on zeros.
func (f *field) reset() {
	for _, v := range []num{f.m, f.k, f.one, f.r3} {
		clear(v)
	}
	clear(f.plainOne[1:])
	f.plainOne[0] = vec{1, 1, 1, 1, 1, 1, 1, 1}
}

// set gives a lane its modulus.
func (f *field) set(lane int, m *modulus) {
	f.m.setLane(lane, m.m)
	f.k[0][lane] = m.k
	f.one.setLane(lane, m.one)
	f.r3.setLane(lane, m.r3)
}

// mul sets dst = a * b / R mod m.
func (f *field) mul(dst, a, b num) {
	if f.shape.blocks == 1 {
		amm20(&dst[0], &a[0], &b[0], &f.m[0], &f.k[0])
		return
	}
	f.shape.product(f.t, a, b)
	f.reduceColumns(dst)
}

// square sets dst = a * a / R mod m.
func (f *field) square(dst, a num) {
	s := f.shape
	switch s.blocks {
	case 1:
		ams20(&dst[0], &a[0], &f.m[0], &f.k[0], &f.t[0])
		return
	case 2:
		// Since 4m < R, the top bit of a is clear, and twice its upper block fits.
		low, high := a[:s.block], a[s.block:]
		s.kernel().sqr(&f.t[0], &low[0])
		s.kernel().sqr(&f.t[2*s.block], &high[0])
		dbl(&f.twice[0], &high[0], s.block)
		s.kernel().mulAdd(&f.t[s.block], &low[0], &f.twice[0])
	default:
		s.product(f.t, a, a)
	}
	f.reduceColumns(dst)
}

// reduce sets dst = a / R mod m, where a has twice as many limbs.
func (f *field) reduce(dst, a num) {
	copy(f.t, a)
	f.reduceColumns(dst)
}

// reduceColumns sets dst = t / R mod m.
func (f *field) reduceColumns(dst num) {
	s := f.shape
	kernel := s.kernel()
	for i := range s.blocks {
		kernel.red(&f.t[i*s.block], &f.m[0], &f.k[0], &f.q[0])
		for j := 1; j < s.blocks; j++ {
			kernel.mulAdd(&f.t[(i+j)*s.block], &f.q[0], &f.m[j*s.block])
		}
	}
	norm(&dst[0], &f.t[s.limbs()], s.limbs())
}

// fromMontgomery sets dst to a/R mod m, less than m. x is scratch.
func (f *field) fromMontgomery(dst, a, x num) {
	f.mul(dst, a, f.plainOne) // at most m
	dst.subtractIfNotLess(f.m, x)
}

// lookup sets each lane of dst to its entry of the table.
func (f *field) lookup(dst, table num, index []vec) {
	s := f.shape
	for b := range s.blocks {
		s.kernel().sel(&dst[b*s.block], &table[b*s.block], &index[0], tableEntries, s.limbs()*vecBytes)
	}
}

// product sets t = a * b, without carrying.
func (s fieldShape) product(t, a, b num) {
	kernel := s.kernel()
	for i := range s.blocks {
		kernel.mul(&t[2*i*s.block], &a[i*s.block], &b[i*s.block])
	}
	for i := range s.blocks {
		for j := range s.blocks {
			if i != j {
				kernel.mulAdd(&t[(i+j)*s.block], &a[i*s.block], &b[j*s.block])
			}
		}
	}
}

// kernel has the functions for one size of blocks.
type kernel struct {
	mul, mulAdd func(t, a, b *vec)
	sqr         func(t, a *vec)
	red         func(t, m, k, q *vec)
	sel         func(dst, table, index *vec, entries, stride int)
}

var (
	kernel15 = kernel{mul15, mulAdd15, sqr15, red15, sel15}
	kernel20 = kernel{mul20, mulAdd20, sqr20, red20, sel20}
)

func (s fieldShape) kernel() *kernel {
	if s.block == 15 {
		return &kernel15
	}
	return &kernel20
}

// normalize sets dst to t, carried.
func normalize(dst, t num) { norm(&dst[0], &t[0], len(dst)) }

// twice sets dst = 2a.
func twice(dst, a num) { dbl(&dst[0], &a[0], len(a)) }
