package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Montgomery multiplication of wide numbers, whose limbs lie side by side in the
// lanes. It is for few requests, which leave most lanes of the other kernel empty.

// wide is a layout. Vector j of a pair holds limbs 4j to 4j+3 of two numbers, which
// take turns. Vector j of a single number holds its limbs 8j to 8j+7. A function may
// do this twice, for operands that follow each other in memory: one waits for the
// results of its own rows half of the time.
type wide struct {
	vectors int
	numbers int // 1 or 2
	times   int // 1 or 2
}

// stream has the registers for one of the times.
type stream struct {
	at            int           // byte offset of its operands
	columns       []VecPhysical // the sum, in limbs of more than 52 bits
	k             VecPhysical   // -1/m mod 2^52
	quotients     VecPhysical   // limb of the quotient, in all lanes
	nextQuotients VecPhysical
	factor        VecPhysical // limb of b, in all lanes
	nextFactor    VecPhysical
}

// Registers of a wide multiplication. The columns are in those before.
var (
	wideTemps = zmm[10:16]
	wideZero  = zmm[16]
	wideOnes  = zmm[17] // 2^64 - 1
	wideMask  = zmm[18] // 2^52 - 1
	streams   = zmm[19:]
	lowLanes  = K1 // the lanes of the lowest limb
	evenBits  = K6
	oddBits   = K7

	nextWideTemp int
)

func wideTemp() VecPhysical {
	nextWideTemp++
	return wideTemps[nextWideTemp%len(wideTemps)]
}

func (w wide) streams() (all []*stream) {
	for i := range w.times {
		r := streams[i*5:]
		all = append(all, &stream{i * w.vectors * vecBytes, zmm[i*w.vectors : (i+1)*w.vectors], r[0], r[1], r[2], r[3], r[4]})
	}
	return all
}

func (s *stream) limb(base Register, i int) Mem {
	return Mem{Base: base, Disp: s.at + i*vecBytes}
}

// loadFactors loads the next limb of b into all lanes.
func (w wide) loadFactors(b Register, all []*stream, to func(*stream) VecPhysical) {
	for _, s := range all {
		if w.numbers == 2 {
			VBROADCASTI64X2(s.limb(b, 0), to(s))
		} else {
			VPBROADCASTQ(s.limb(b, 0), to(s))
		}
	}
	ADDQ(Imm(uint64(8*w.numbers)), b)
}

// findQuotient finds the multiple of m that makes the lowest limb zero.
func (w wide) findQuotient(s *stream, to VecPhysical) {
	q := wideTemp()
	zero(q)
	lo(q, s.columns[0], s.k)
	if w.numbers == 2 {
		VSHUFI64X2(U8(0), q, q, to)
	} else {
		VPBROADCASTQ(q.AsX(), to)
	}
}

// row adds a * factor and quotients * m, and shifts the lowest limb out. The columns
// already have the lower halves of a * factor, and get those of a * nextFactor unless
// last is set.
//
// A row depends on the previous one through its quotient. So the next quotient is
// begun first, and what does not depend on the quotient is kept apart until the shift.
func (w wide) row(a, m, b Register, all []*stream, last bool) {
	if !last {
		w.loadFactors(b, all, func(s *stream) VecPhysical { return s.nextFactor })
	}
	for j := range w.vectors {
		for _, s := range all {
			later := wideTemp()
			if j == 0 {
				// The multiple of m rounds the lowest limb up to a multiple of 2^52. So
				// the carry is known without it.
				VPADDQ(wideMask, s.columns[0], later)
				VPSRLQ_Z(U8(52), later, lowLanes, later)
				VPMADD52LUQ(s.limb(m, 0), s.quotients, s.columns[0])
			} else {
				zero(later)
			}
			VPMADD52HUQ(s.limb(a, j), s.factor, later)
			if !last {
				VPMADD52LUQ(s.limb(a, j), s.nextFactor, later)
			}
			above := wideZero
			if j+1 < w.vectors {
				above = s.columns[j+1]
				VPMADD52LUQ(s.limb(m, j+1), s.quotients, above)
			}
			VPMADD52HUQ(s.limb(m, j), s.quotients, later)
			VALIGNQ(U8(w.numbers), s.columns[j], above, s.columns[j])
			VPADDQ(later, s.columns[j], s.columns[j])
			if j == 0 && !last {
				w.findQuotient(s, s.nextQuotients)
			}
		}
	}
	if !last {
		for _, s := range all {
			VMOVDQA64(s.nextFactor, s.factor)
			VMOVDQA64(s.nextQuotients, s.quotients)
		}
	}
}

// multiply emits amm for wide numbers.
func (w wide) multiply() {
	name, what := "ammPair", "of each of two numbers"
	if w.numbers == 1 {
		name, what = "ammSingle", "of one number"
	}
	name = fmt.Sprintf("%s%d", name, w.vectors)
	what = fmt.Sprintf("%s in %d vectors", what, w.vectors)
	if w.times > 1 {
		name += "Twice"
		what += ", and of those in the vectors that follow"
	}
	function(name, "dst, a, b, m, k *[8]uint64, rows int", fmt.Sprintf(
		"%s sets dst = a * b / 2^(52*rows) modulo m, less than 2m if a and b are and 4m < 2^(52*rows), %s.", name, what))
	dst, a, b, m, k, rows := RDI, RSI, RDX, RCX, R8, R9
	for _, p := range []struct {
		name string
		r    Register
	}{{"dst", dst}, {"a", a}, {"b", b}, {"m", m}, {"k", k}, {"rows", rows}} {
		pointer(p.name, p.r)
	}
	VPTERNLOGQ(U8(0xff), wideOnes, wideOnes, wideOnes)
	VPSRLQ(U8(12), wideOnes, wideMask)
	zero(wideZero)
	MOVQ(U64(1<<w.numbers-1), RAX)
	KMOVQ(RAX, lowLanes)

	all := w.streams()
	w.loadFactors(b, all, func(s *stream) VecPhysical { return s.factor })
	for i, s := range all {
		VMOVDQU64(limb(k, i), s.k)
		for j, c := range s.columns {
			zero(c)
			VPMADD52LUQ(s.limb(a, j), s.factor, c)
		}
		w.findQuotient(s, s.quotients)
	}
	DECQ(rows)
	Label("row")
	w.row(a, m, b, all, false)
	DECQ(rows)
	JNZ(LabelRef("row"))
	w.row(a, m, b, all, true)

	if w.numbers == 2 {
		MOVQ(U64(0x5555555555555555), RAX)
		KMOVQ(RAX, evenBits)
		KNOTQ(evenBits, oddBits)
	}
	for _, s := range all {
		w.normalize(s, dst)
	}
	finish()
}

// normalize carries through the columns and stores them. Carrying once leaves limbs
// of at most 2^52 + 2^12. The carries that are left are 0 or 1. They are found by an
// addition of masks: a limb that is too large begins a carry, and limbs of ones pass
// it on.
func (w wide) normalize(s *stream, dst Register) {
	below := wideZero
	for _, c := range s.columns {
		carry, moved := wideTemp(), wideTemp()
		VPSRLQ(U8(52), c, carry)
		VPANDQ(wideMask, c, c)
		VALIGNQ(U8(8-w.numbers), below, carry, moved)
		VPADDQ(moved, c, c)
		below = carry
	}
	// A mask has 64 bits.
	group := w.vectors
	if group > 8 {
		group /= 2
	}
	for first := 0; first < w.vectors; first += group {
		w.carryGroup(s, dst, first, group)
	}
}

// carryGroup completes the vectors from first on. K0 is what the group below has
// left.
func (w wide) carryGroup(s *stream, dst Register, first, n int) {
	carry, begin, pass, free := K0, K1, K2, []Register{K3, K4, K5}
	combine(begin, free, n, func(j int, k Register) { VPCMPGTQ(wideMask, s.columns[first+j], k) })
	combine(pass, free, n, func(j int, k Register) { VPCMPEQQ(wideMask, s.columns[first+j], k) })
	KSHIFTLQ(U8(w.numbers), begin, begin)
	if first > 0 {
		KSHIFTRQ(U8(8*n), carry, carry)
		KORQ(carry, begin, begin)
	}
	if w.numbers == 1 {
		KADDQ(begin, pass, begin)
		KXORQ(begin, pass, carry)
	} else {
		// The numbers take turns, so a carry has to skip a bit, which is set for this.
		x, y := K3, K4
		KANDQ(evenBits, begin, x)
		KORQ(oddBits, pass, y)
		KADDQ(x, y, x)
		KXORQ(x, y, x)
		KANDQ(evenBits, x, carry)
		KANDQ(oddBits, begin, x)
		KORQ(evenBits, pass, y)
		KADDQ(x, y, x)
		KXORQ(x, y, x)
		KANDQ(oddBits, x, x)
		KORQ(x, carry, carry)
	}
	for j := range n {
		add := free[j%len(free)]
		KSHIFTRQ(U8(8*j), carry, add)
		c := s.columns[first+j]
		VPSUBQ(wideOnes, c, add, c)
		VPANDQ(wideMask, c, c)
		VMOVDQU64(c, s.limb(dst, first+j))
	}
}

// combine puts the masks of n vectors, 1 to 8, into one.
func combine(to Register, free []Register, n int, compare func(j int, k Register)) {
	var build func(to Register, free []Register, first, n int)
	build = func(to Register, free []Register, first, n int) {
		if n == 1 {
			compare(first, to)
			return
		}
		half := 1
		for 2*half < n {
			half *= 2
		}
		high := free[0]
		build(to, free, first, half)
		build(high, free[1:], first+half, n-half)
		switch half {
		case 1:
			KUNPCKBW(to, high, to)
		case 2:
			KUNPCKWD(to, high, to)
		case 4:
			KUNPCKDQ(to, high, to)
		}
	}
	build(to, free, 0, n)
}
