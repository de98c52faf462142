package rsax8

const (
	windowBits   = 4
	tableEntries = 1 << windowBits
)

// arithmetic is that of a field, in lanes or in wide numbers.
type arithmetic interface {
	mul(dst, a, b num)
	square(dst, a num)
	// lookup sets each number of dst to its entry of the table.
	lookup(dst, table num, index []vec)
}

// power raises numbers to secret powers, each to its own.
type power struct {
	arithmetic
	acc   num // the result
	x     num // the base, which is overwritten
	one   num
	table num // of tableEntries powers, one after the other
	index num // the entry of each number, as lookup wants it
}

// raise sets acc to x to the power of the exponents, which have length bits. They are
// in lanes, 64 bits in each vector. from names the lane for each place in index.
func (p *power) raise(exponents []vec, from [][Lanes]int, length int) {
	n := len(p.x)
	entry := func(i int) num { return p.table[i*n : (i+1)*n] }
	copy(entry(0), p.one)
	copy(entry(1), p.x)
	for i := 2; i < tableEntries; i += 2 {
		p.square(entry(i), entry(i/2))
		p.mul(entry(i+1), entry(i), p.x)
	}
	windows := (length + windowBits - 1) / windowBits
	for w := windows - 1; w >= 0; w-- {
		word, shift := &exponents[w*windowBits/64], w*windowBits%64
		for i := range p.index {
			for l, lane := range from[i] {
				p.index[i][l] = word[lane] >> shift & (tableEntries - 1)
			}
		}
		if w == windows-1 {
			p.lookup(p.acc, p.table, p.index)
			continue
		}
		for range windowBits {
			p.square(p.acc, p.acc)
		}
		p.lookup(p.x, p.table, p.index)
		p.mul(p.acc, p.acc, p.x)
	}
}
