package load

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// manyLines is a header of n bytes, without the empty line at its end.
func manyLines(n int) string {
	line := "Set-Cookie: " + strings.Repeat("c", 86) + "\r\n" // 100 bytes
	return strings.Repeat(line, n/len(line)-1) + "Last: " + strings.Repeat("x", n%len(line)+len(line)-8) + "\r\n"
}

// Answers are read from their bytes, whatever pieces they come in. The rest of the
// connection is left alone, unless the answer ends with it.
func TestAnswerReader(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	interim := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	for _, test := range []struct {
		name, answer string
		code         int
		kind, says   string // of the error; empty: none
		toTheEnd     bool   // it ends with the connection
	}{
		{name: "length", answer: ok + "Content-Length: 2\r\n\r\nok", code: 200},
		{name: "no reason", answer: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", code: 200},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\n\r\nsome bytes", code: 200, toTheEnd: true},
		{name: "HTTP/1.0 with a length", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", code: 200},
		{name: "HTTP/1.0 knows no chunks", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone", code: 200, toTheEnd: true},
		{name: "bare line feeds", answer: "HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\nok", code: 200},
		{name: "chunks", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", code: 200},
		{name: "chunks and a trailer", answer: ok + "transfer-encoding: Chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nSum: 1\r\nMore: 2\r\n\r\n", code: 200},
		{name: "gzip in chunks", answer: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", code: 200},
		{name: "codings in two lines", answer: ok + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", code: 200},
		{name: "chunks win", answer: ok + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", code: 200},
		{name: "a coding without chunks", answer: ok + "Transfer-Encoding: gzip\r\n\r\nsome bytes", code: 200, toTheEnd: true},
		{name: "up to the end", answer: ok + "\r\nsome bytes", code: 200, toTheEnd: true},
		{name: "the same length twice", answer: ok + "Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\nok", code: 200},
		{name: "a folded line", answer: ok + "X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", code: 200},
		{name: "interim answers", answer: strings.Repeat(interim, maxInterim) + ok + "Content-Length: 2\r\n\r\nok", code: 200},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", code: 204},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", code: 304},
		{name: "101", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", code: 101},
		{name: "999", answer: "HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nno", code: 999},
		{name: "a header of 64 KiB", answer: ok + manyLines(64<<10) + "Content-Length: 2\r\n\r\nok", code: 200},
		{name: "a line of 64 KiB", answer: ok + "X: " + strings.Repeat("y", 64<<10) + "\r\nContent-Length: 2\r\n\r\nok", code: 200},
		{name: "the greatest header", answer: ok + manyLines(maxAnswerHeader-len(ok)-21) + "Content-Length: 2\r\n\r\nok", code: 200},
		{name: "a body longer than that", answer: longAnswer(3 * maxAnswerHeader), code: 200},
		{name: "chunks longer than that", answer: chunked(3 * maxAnswerHeader), code: 200},

		{name: "too great a header", answer: ok + manyLines(maxAnswerHeader+10) + "\r\n", kind: kindProtocol, says: "its header has more than 1024 KiB"},
		{name: "a line without end", answer: ok + "X: " + strings.Repeat("y", 2*maxAnswerHeader), kind: kindProtocol, says: "1024 KiB"},
		{name: "interim answers without end", answer: strings.Repeat(interim, maxInterim+1), kind: kindProtocol, says: "more than 16 interim answers"},
		{name: "a trailer without end", answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + manyLines(2*maxAnswerHeader), kind: kindProtocol, says: "1024 KiB"},
		{name: "two lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", kind: kindProtocol, says: `"2, 3"`},
		{name: "no length", answer: ok + "Content-Length: two\r\n\r\nok", kind: kindProtocol, says: `"two"`},
		{name: "a negative length", answer: ok + "Content-Length: -2\r\n\r\nok", kind: kindProtocol, says: `"-2"`},
		{name: "another protocol", answer: "SSH-2.0-OpenSSH_9.2\r\n\r\n", kind: kindProtocol, says: `begins with "SSH-2.0-OpenSSH_9.2"`},
		{name: "HTTP/2", answer: "HTTP/2.0 200 OK\r\n\r\n", kind: kindProtocol, says: "HTTP/2.0"},
		{name: "no status", answer: "HTTP/1.1 OK\r\n\r\n", kind: kindProtocol, says: `"HTTP/1.1 OK"`},
		{name: "a bad line", answer: ok + "no colon\r\n\r\n", kind: kindProtocol, says: "malformed"},
		{name: "a bad chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", kind: kindProtocol, says: "chunk"},
		{name: "half a status line", answer: "HTTP/1.1 2", kind: kindClosed},
		{name: "half a header", answer: ok + "Content-", kind: kindClosed},
		{name: "half a body", answer: ok + "Content-Length: 100\r\n\r\nhalf", kind: kindClosed},
		{name: "half a chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", kind: kindClosed},
		{name: "no last chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", kind: kindClosed},
		{name: "half a trailer", answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nSum: 1\r\n", kind: kindClosed},
	} {
		pieces := map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }}
		if len(test.answer) < 1<<10 {
			pieces["byte by byte"] = iotest.OneByteReader
		}
		for how, cut := range pieces {
			const rest = "the rest"
			whole := test.answer
			if test.kind == "" && !test.toTheEnd {
				whole += rest
			}
			a := newAnswerReader()
			a.reset(cut(strings.NewReader(whole)))
			code, err := a.read()
			name := test.name + ", " + how
			if test.kind != "" {
				if err == nil || kindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: status %d, error %v, want the kind %s and %q", name, code, err, test.kind, test.says)
				}
				continue
			}
			if err != nil || code != test.code {
				t.Errorf("%s: status %d, error %v, want %d", name, code, err, test.code)
				continue
			}
			left, err := io.ReadAll(a.buf)
			if want := whole[len(test.answer):]; err != nil || string(left) != want {
				t.Errorf("%s: %q, %v is left, want %q", name, left, err, want)
			}
		}
	}
}

// The fields of a great header do not stay in memory until it ends.
func TestAnswerHeaderIsDropped(t *testing.T) {
	var text strings.Builder
	text.WriteString("HTTP/1.1 200 OK\r\n")
	for i := 0; text.Len() < maxAnswerHeader/2; i++ {
		fmt.Fprintf(&text, "X%x:\r\n", i)
	}
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	a, start, kept := newAnswerReader(), strings.NewReader(text.String()), uint64(0)
	before := inUse()
	a.reset(readerFunc(func(p []byte) (int, error) {
		if start.Len() > 0 {
			return start.Read(p)
		}
		if now := inUse(); now > before {
			kept = now - before
		}
		return copy(p, "Content-Length: 0\r\n\r\n"), nil
	}))
	if code, err := a.read(); code != 200 || err != nil || kept > 1<<20 {
		t.Errorf("status %d, %v: in its header of %d bytes, the answer took %d", code, err, text.Len(), kept)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Errors of the connection stay what they are.
func TestAnswerReaderConnectionFails(t *testing.T) {
	failed := errors.New("the connection failed")
	for _, start := range []string{"HTTP/1.1 200", "HTTP/1.1 200 OK\r\nX: y\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nb",
		"HTTP/1.1 200 OK\r\n\r\nb", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nb"} {
		a := newAnswerReader()
		a.reset(io.MultiReader(strings.NewReader(start), iotest.ErrReader(fmt.Errorf("read: %w", failed))))
		if _, err := a.read(); !errors.Is(err, failed) {
			t.Errorf("after %q: %v", start, err)
		}
	}
}
