package load

import "io"

// firstByte is a reader that can wait for the first byte of an answer by itself.
// While thousands of clients wait for a slow server, none of them needs a buffer.
type firstByte struct {
	r    io.Reader
	b    [1]byte
	have bool // b has been read from r, and not been returned yet
}

// wait waits for the first byte.
func (f *firstByte) wait() error {
	_, err := io.ReadFull(f.r, f.b[:])
	f.have = err == nil
	return err
}

// Read returns the first byte together with what follows it: whoever parses an answer
// can do nothing with a single byte.
func (f *firstByte) Read(p []byte) (int, error) {
	if !f.have || len(p) == 0 {
		return f.r.Read(p)
	}
	f.have = false
	p[0] = f.b[0]
	if len(p) == 1 {
		return 1, nil
	}
	n, err := f.r.Read(p[1:])
	return n + 1, err
}
