package gnetjobs_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/jobloop/jobloop/gnetjobs"
	"github.com/jobloop/jobloop/internal/testkit"
)

// readOp is a call of one of gnet.Reader's methods.
type readOp struct {
	method string
	n      int
}

// stage is what is called when a client has sent so many bytes more.
type stage struct {
	sent int
	ops  []readOp
}

// do calls the method, and returns what it answers, and how many bytes it has
// taken.
func (op readOp) do(c gnet.Conn) (answer string, taken int) {
	before := c.InboundBuffered()
	var got []byte
	var n int64
	var err error
	switch op.method {
	case "Next":
		got, err = c.Next(op.n)
	case "Peek":
		got, err = c.Peek(op.n)
	case "Discard":
		var m int
		m, err = c.Discard(op.n)
		n = int64(m)
	case "Read":
		got = make([]byte, op.n)
		var m int
		m, err = c.Read(got)
		got, n = got[:m], int64(m)
	case "WriteTo":
		w := &limitedWriter{left: op.n}
		n, err = c.WriteTo(w)
		got = w.got
	}
	after := c.InboundBuffered()
	what := fmt.Sprintf("%.20q", got)
	if len(got) > 20 {
		what = fmt.Sprintf("%d bytes %08x", len(got), crc32.ChecksumIEEE(got))
	}
	return fmt.Sprintf("%s(%d) with %d buffered: %s, %d, %v; %d buffered", op.method, op.n, before, what, n, err, after), before - after
}

// limitedWriter takes so many bytes, or any number if that is negative.
type limitedWriter struct {
	left int
	got  []byte
}

var errLimited = errors.New("limited")

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left < 0 || len(p) <= w.left {
		w.left -= min(len(p), max(w.left, 0))
		w.got = append(w.got, p...)
		return len(p), nil
	}
	n := w.left
	w.left = 0
	w.got = append(w.got, p[:n]...)
	return n, errLimited
}

// answers runs the stages on one connection, and returns what each call
// answered.
func answers(t *testing.T, stages []stage, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) []string {
	t.Helper()
	var (
		got             []string
		at, come, taken int
	)
	s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
		if at == len(stages) || taken+c.InboundBuffered() < come+stages[at].sent {
			return gnet.None // a part of it
		}
		come += stages[at].sent
		for _, op := range stages[at].ops {
			answer, n := op.do(c)
			got = append(got, fmt.Sprintf("stage %d: %s", at, answer))
			taken += n
		}
		at++
		c.Write([]byte{'.'})
		return gnet.None
	}}, wrap)
	client := dial(t, s)
	total := 0
	for _, st := range stages {
		total += st.sent
	}
	data := pattern(total)
	for _, st := range stages {
		if _, err := client.Write(data[:st.sent]); err != nil {
			t.Fatal(err)
		}
		data = data[st.sent:]
		testkit.WantRead(t, client, ".")
	}
	s.stop(t)
	return got
}

// sameAnswers runs the stages with gnet's own connections, and with those of
// this package.
func sameAnswers(t *testing.T, stages []stage) {
	t.Helper()
	var want []string
	t.Run("gnet", func(t *testing.T) { want = answers(t, stages, plain, dialPlain) })
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		got := answers(t, stages, wrap, dial)
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("%s\ngnet: %s", got[min(i, len(got)-1)], want[i])
			}
		}
	})
}

// TestReading compares each method of gnet.Reader with gnet's own: on fresh
// bytes, on bytes that were left, on both, and on none.
func TestReading(t *testing.T) {
	all := readOp{"Discard", -1}
	for _, ops := range [][]readOp{
		{{"Next", -1}, {"Next", -1}, {"Next", 0}, {"Next", 1}},
		{{"Next", 3}, {"Next", 0}},
		{{"Next", 1000}, {"Next", 5}, all},
		{{"Peek", 5}, {"Peek", 5}, {"Peek", -1}, {"Peek", 0}, {"Peek", 1000}, {"Discard", 5}, {"Peek", 3}, all, {"Peek", 0}, {"Peek", 1}},
		{{"Discard", 1}, {"Discard", 0}, {"Discard", 0}, {"Discard", 5}},
		{{"Discard", 1000}, {"Discard", -5}},
		{{"Read", 0}, {"Read", 4}, {"Read", 1000}, {"Read", 1}, {"Read", 0}},
		{{"WriteTo", -1}, {"WriteTo", -1}},
		{{"Next", 2}, {"WriteTo", -1}, {"Next", 1}},
		{{"Peek", 60}, {"Discard", 60}, {"Read", 10}, {"Next", 10}, {"WriteTo", -1}},
		{{"Peek", 60}, {"Next", 60}, {"Peek", 3}, all},
		{{"Read", 49}, {"Read", 2}, {"Peek", 1}, {"Discard", 1}, {"Next", -1}},
	} {
		t.Run(fmt.Sprint(ops), func(t *testing.T) {
			sameAnswers(t, []stage{
				{100, append(ops, all)},       // fresh
				{50, nil},                     // left
				{50, append(ops, all)},        // left, and then fresh
				{70, []readOp{{"Next", 20}}},  // partly left
				{1, append(ops, all)},         //
				{40_000, append(ops, all)},    // of several records
				{5, []readOp{{"WriteTo", 5}}}, // all the writer takes
				{1, ops}, {1, ops}, {200, []readOp{all}},
			})
		})
	}
}

// TestFailingWriteTo compares WriteTo a writer that takes only a part. gnet
// loses what it had buffered for good in that case: this is about fresh bytes.
func TestFailingWriteTo(t *testing.T) {
	sameAnswers(t, []stage{
		{100, []readOp{{"WriteTo", 30}, {"WriteTo", 0}, {"WriteTo", -1}}},
	})
}

// TestReadingAtRandom compares long random sequences of calls.
func TestReadingAtRandom(t *testing.T) {
	methods := []string{"Next", "Peek", "Discard", "Read", "WriteTo", "Peek", "Next", "Read"}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 8))
			var stages []stage
			for range 200 {
				st := stage{sent: 1 + rnd.IntN(3000)}
				for range rnd.IntN(6) {
					op := readOp{methods[rnd.IntN(len(methods))], rnd.IntN(st.sent + st.sent/4)}
					switch {
					case op.method == "WriteTo":
						op.n = -1
					case op.n == 0 && op.method == "Read":
						op.n = 1
					case rnd.IntN(20) == 0 && op.method != "Read":
						op.n = -1
					}
					st.ops = append(st.ops, op)
				}
				if rnd.IntN(8) == 0 {
					st.ops = append(st.ops, readOp{"Discard", -1})
				}
				stages = append(stages, st)
			}
			sameAnswers(t, stages)
		})
	}
}

// TestReaderIsIO proves that a connection works as an io.Reader where it is
// meant to: inside OnTraffic, with what has come.
func TestReaderIsIO(t *testing.T) {
	eachWrapper(t, gnetjobs.Options{}, func(t *testing.T, wrap func(gnet.EventHandler) gnet.EventHandler, dial func(testing.TB, *server) net.Conn) {
		s := serve(t, &handler{onTraffic: func(c gnet.Conn) gnet.Action {
			if c.InboundBuffered() < 10 {
				return gnet.None
			}
			buf := make([]byte, 10)
			if _, err := io.ReadFull(c, buf); err != nil {
				t.Errorf("ReadFull: %v", err)
			}
			c.Write(buf)
			return gnet.None
		}}, wrap)
		client := dial(t, s)
		for _, piece := range []string{"01", "234", "56789"} {
			if _, err := io.WriteString(client, piece); err != nil {
				t.Fatal(err)
			}
		}
		testkit.WantRead(t, client, "0123456789")
	})
}
