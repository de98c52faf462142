package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/loop"
)

// console is where a command writes: results to out, problems to err.
type console struct {
	out, err io.Writer
}

// fail prints the error in one line and returns the exit status.
func (con *console) fail(err error, status int) int {
	if errors.Is(err, loop.ErrUnsupported) {
		err = fmt.Errorf("the event loop does not run on %s: it needs epoll or kqueue", runtime.GOOS)
	}
	fmt.Fprintf(con.err, "tlsdemo: %v\n", err)
	return status
}

// unblock makes writing to the console never wait, for a server. Lines that nobody
// reads are lost, and errors ignored.
func (con *console) unblock() { con.out, con.err = newLineWriter(con.out), newLineWriter(con.err) }

// flush waits until what was written has got through, but not for ever. It must be
// called before the process exits.
func (con *console) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), logqueue.Patience)
	defer cancel()
	for _, w := range []io.Writer{con.out, con.err} {
		if l, ok := w.(*lineWriter); ok {
			l.queue.Flush(ctx, logqueue.Patience)
		}
	}
}

// lineWriter is a Writer that does not wait for the one below. Each Write is whole
// lines.
type lineWriter struct {
	queue logqueue.Queue
	w     io.Writer
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{w: w}
	l.queue.Lost = func(n uint64) { fmt.Fprintf(w, "tlsdemo: %d lines were lost\n", n) }
	return l
}

func (l *lineWriter) Write(p []byte) (int, error) {
	lines := bytes.Clone(p)
	l.queue.Do(func() { l.w.Write(lines) })
	return len(p), nil
}
