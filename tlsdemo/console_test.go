package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/jobloop/jobloop/internal/load"
	"github.com/jobloop/jobloop/internal/logqueue"
	"github.com/jobloop/jobloop/internal/testkit"
)

// holdingWriter lets no write through until it is released.
type holdingWriter struct {
	testkit.Log
	entered, release chan bool
}

func (w *holdingWriter) Write(p []byte) (int, error) {
	select {
	case w.entered <- true:
	default:
	}
	<-w.release
	return w.Log.Write(p)
}

// A console that is not read does not block. What gets through is in order, and says
// what is missing.
func TestConsoleDoesNotWait(t *testing.T) {
	testkit.CheckLeaks(t)
	out := &holdingWriter{entered: make(chan bool, 1), release: make(chan bool)}
	con := &console{out, new(testkit.Log)}
	con.unblock()
	line := []byte("line 0\n")
	con.out.Write(line)
	line[0] = 'L' // Write has copied it
	testkit.Receive(t, out.entered)
	for i := range logqueue.Max + 2 {
		fmt.Fprintf(con.out, "line %d\n", i+1)
	}
	con.fail(fmt.Errorf("an error"), 1)
	close(out.release)
	for _, w := range []*lineWriter{con.out.(*lineWriter), con.err.(*lineWriter)} {
		w.queue.Flush(context.Background(), testkit.Patience)
	}
	lines := out.Lines()
	for i, l := range lines[:len(lines)-1] {
		if want := fmt.Sprint("line ", i); l != want {
			t.Fatalf("%q, want %q", l, want)
		}
	}
	if last := lines[len(lines)-1]; len(lines) != logqueue.Max+2 || !strings.Contains(last, "2 lines were lost") {
		t.Errorf("%d lines, the last: %q", len(lines), last)
	}
}

// What a server or a file says cannot give orders to the terminal.
func TestConsolePrintsNoControls(t *testing.T) {
	const order = "\x1b[2J\u009b2J"
	var b strings.Builder
	con := &console{io.Discard, &b}
	con.warn([]string{order})
	con.fail(errors.New(order+"\n"+order), 1)
	printSummary(&b, &load.Result{ErrorsByKind: map[string]int64{"other": 1}, ErrorExamples: map[string]string{"other": order}})
	if text := strings.ReplaceAll(b.String(), "\n", ""); strings.Count(text, "[2J") != 4 || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("%q", text)
	}
}
