package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"unicode"

	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/loop"
)

// console is where a command writes: results to out, problems to err.
type console struct {
	out, err io.Writer
}

// watch makes the console remember the first error of out.
func (con *console) watch() { con.out = &checkedWriter{w: con.out} }

// fail prints the error, a line for each part, and returns the exit status.
func (con *console) fail(err error, status int) int {
	if errors.Is(err, loop.ErrUnsupported) {
		err = fmt.Errorf("the event loop does not run on %s: it needs epoll or kqueue", runtime.GOOS)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(con.err, "tlsdemo: %s\n", printable(line))
	}
	return status
}

// warn prints warnings, a line for each.
func (con *console) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(con.err, "tlsdemo: warning: %s\n", printable(w))
	}
}

// printable replaces characters that are invisible, which a server or a file from
// elsewhere may have put into a text: they could change what the terminal shows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// end returns the exit status of a command that has ended with err. What did not get to
// standard output is an error too.
func (con *console) end(err error) int {
	status := 0
	if err != nil {
		status = con.fail(err, 1)
	}
	if o, ok := con.out.(*checkedWriter); ok && o.err != nil && !errors.Is(err, o.err) {
		status = con.fail(o.err, 1)
	}
	return status
}

// unblock makes writing to the console never wait, for a server. Lines that nobody
// reads are lost, and errors ignored.
func (con *console) unblock() {
	con.out, con.err = newLineWriter(unwatched(con.out)), newLineWriter(con.err)
}

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

// checkedWriter is standard output. After its first error it writes no more.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (o *checkedWriter) Write(p []byte) (n int, err error) {
	if o.err == nil {
		n, err = o.w.Write(p)
		o.failed(err)
	}
	return n, o.err
}

// failed remembers an error, if it is the first one.
func (o *checkedWriter) failed(err error) {
	if err == nil || o.err != nil {
		return
	}
	var path *fs.PathError // it calls the file /dev/stdout
	if errors.As(err, &path) {
		err = path.Err
	}
	o.err = fmt.Errorf("write standard output: %w", err)
}

// unwatched returns the Writer below a checkedWriter.
func unwatched(w io.Writer) io.Writer {
	if o, ok := w.(*checkedWriter); ok {
		return o.w
	}
	return w
}

// terminal returns a Writer's file, and whether it is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := unwatched(w).(*os.File)
	if !ok {
		return nil, false
	}
	info, err := f.Stat()
	return f, err == nil && info.Mode()&os.ModeCharDevice != 0
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
