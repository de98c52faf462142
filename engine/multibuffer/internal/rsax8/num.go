package rsax8

import (
	"encoding/binary"
	"unsafe"
)

// vec is a value for each of the eight lanes, such as one limb of eight numbers.
type vec = [Lanes]uint64

const (
	vecBytes = 64
	limbBits = 52
	limbMask = 1<<limbBits - 1
)

// num is a number in each lane, in limbs of 52 bits, the lowest first.
type num []vec

// alignedVecs returns n vectors that are aligned to cache lines.
func alignedVecs(n int) []vec {
	v := make([]vec, n+1)
	off := uintptr(unsafe.Pointer(&v[0])) % vecBytes
	if off == 0 {
		return v[:n:n]
	}
	return unsafe.Slice((*vec)(unsafe.Add(unsafe.Pointer(&v[0]), vecBytes-off)), n)
}

// setLane sets a lane to a number with at least as many limbs as v.
func (v num) setLane(lane int, limbs []uint64) {
	for i, x := range limbs[:len(v)] {
		v[i][lane] = x
	}
}

// copyLane copies lane from of w to a lane of v.
func (v num) copyLane(lane int, w num, from int) {
	for i := range v {
		v[i][lane] = w[i][from]
	}
}

// setBytes sets a lane to a big-endian number.
func (v num) setBytes(lane int, b []byte) {
	for i := range v {
		v[i][lane] = limbOf(b, i)
	}
}

// limbOf returns limb i of a big-endian number of at least 8 bytes.
func limbOf(b []byte, i int) uint64 {
	// If i is odd, the limb begins in the middle of a byte and ends at the end of
	// one. If i is even, it is the other way round. Seven bytes hold it in either
	// case.
	low := i * limbBits / 8 // bytes below the limb
	end := len(b) - low
	if end <= 0 {
		return 0
	}
	var w uint64
	if end >= 8 {
		w = binary.BigEndian.Uint64(b[end-8:])
	} else {
		for _, x := range b[:end] {
			w = w<<8 | uint64(x)
		}
	}
	return w >> (i * limbBits % 8) & limbMask
}

// bytes writes a lane to b as a big-endian number.
func (v num) bytes(lane int, b []byte) {
	var acc uint64 // bits that have not been written yet
	n, i := 0, 0
	for at := len(b) - 1; at >= 0; at-- {
		if n < 8 && i < len(v) {
			acc |= v[i][lane] << n
			n += limbBits
			i++
		}
		b[at] = byte(acc)
		acc >>= 8
		n -= 8
	}
}

// equalLane reports whether a lane is the same in v and w, which must have the
// same length.
func (v num) equalLane(w num, lane int) bool {
	var diff uint64
	for i := range v {
		diff |= v[i][lane] ^ w[i][lane]
	}
	return diff == 0
}

// add adds w to v, which must not overflow.
func (v num) add(w num) {
	var carry vec
	for i := range v {
		for l := range Lanes {
			x := v[i][l] + w[i][l] + carry[l]
			v[i][l] = x & limbMask
			carry[l] = x >> limbBits
		}
	}
}

// subtract subtracts w from v. w must not be greater than v.
func (v num) subtract(w num) { v.difference(v, w) }

// difference sets v = a - b modulo R, and returns the borrow of each lane.
func (v num) difference(a, b num) (borrow vec) {
	for i := range v {
		for l := range Lanes {
			x := a[i][l] - b[i][l] - borrow[l]
			v[i][l] = x & limbMask
			borrow[l] = x >> 63
		}
	}
	return borrow
}

// subtractIfNotLess subtracts w in the lanes where v is not less than w. x is
// scratch.
func (v num) subtractIfNotLess(w, x num) {
	less := x.difference(v, w)
	for l := range less {
		less[l] = -less[l] // all ones where v stays as it is
	}
	for i := range v {
		for l, keep := range less {
			v[i][l] = v[i][l]&keep | x[i][l]&^keep
		}
	}
}
