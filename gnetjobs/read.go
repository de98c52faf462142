package gnetjobs

import "io"

// The bytes that a handler has not read yet are in one slice, conn.in. Until
// OnTraffic has returned, it may be in the memory that all connections of the loop
// share. After that it is the connection's own.

// Read reads into p. It returns io.ErrShortBuffer if there is nothing to read.
func (c *conn) Read(p []byte) (int, error) {
	n := copy(p, c.in)
	c.consume(n)
	if n == 0 && len(p) > 0 {
		return 0, io.ErrShortBuffer
	}
	return n, nil
}

// Next returns the next n bytes, or all of them if n is not positive. They are
// valid until the callback returns.
func (c *conn) Next(n int) ([]byte, error) {
	b, err := c.Peek(n)
	c.consume(len(b))
	return b, err
}

// Peek is Next without consuming the bytes.
func (c *conn) Peek(n int) ([]byte, error) {
	if n > len(c.in) {
		return nil, io.ErrShortBuffer
	}
	if n <= 0 {
		n = len(c.in)
	}
	return c.in[:n:n], nil
}

// Discard drops the next n bytes, or all of them if there are fewer or n is not
// positive.
func (c *conn) Discard(n int) (int, error) {
	if n <= 0 || n > len(c.in) {
		n = len(c.in)
	}
	c.consume(n)
	return n, nil
}

// WriteTo writes the unread bytes to w.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if len(c.in) == 0 {
		return 0, nil
	}
	n, err := w.Write(c.in)
	c.consume(n)
	return int64(n), err
}

// InboundBuffered returns the number of unread bytes.
func (c *conn) InboundBuffered() int { return len(c.in) }

func (c *conn) consume(n int) {
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.in = nil
	}
}
