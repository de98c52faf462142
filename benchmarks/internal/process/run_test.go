//go:build linux

package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/process/proctest"
)

// The test binary is also the program's hidden commands: those are started with a
// name, tests with flags.
func TestMain(m *testing.M) {
	if proctest.Hidden() {
		hidden(os.Args[1:])
		return
	}
	os.Exit(proctest.Run(m))
}

func hidden(args []string) {
	switch args[0] {
	case "threads":
		json.NewEncoder(os.Stdout).Encode(map[string]string{"threads": os.Getenv("GOMAXPROCS")})
	case "nonsense":
		fmt.Println("hello")
	case "fail":
		fmt.Fprintln(os.Stderr, "what is wrong")
		os.Exit(3)
	case "talk":
		SayReady()
		b, _ := io.ReadAll(os.Stdin)
		fmt.Printf("[%d]", len(b))
	case "fail-later":
		SayReady()
		io.Copy(io.Discard, os.Stdin)
		fmt.Fprintln(os.Stderr, "what is wrong")
		os.Exit(3)
	}
}

func TestRunSelf(t *testing.T) {
	var got map[string]string
	if err := RunSelf(t.Context(), AnyCPU, &got, "threads"); err != nil || got["threads"] != "1" {
		t.Errorf("%v, %v", got, err)
	}
	for command, want := range map[string]string{"fail": "fail: exit status 3\nwhat is wrong", "nonsense": `nonsense: it printed "hello\n"`} {
		if err := RunSelf(t.Context(), AnyCPU, &got, command); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestRun(t *testing.T) {
	e, err := Command(t.Context(), "sh", "sh", "-c", "echo out; echo err >&2; exit 7").Run(AnyCPU)
	if err == nil || err.Error() != "sh: exit status 7\nerr" || string(e.Out) != "out\n" || e.Took <= 0 || e.CPU < 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := Command(t.Context(), "x", "/nonexistent").Run(AnyCPU); err == nil || !strings.HasPrefix(err.Error(), "start x: ") {
		t.Errorf("error %v", err)
	}
}

func TestTalk(t *testing.T) {
	talk, err := StartTalk(t.Context(), AnyCPU, "talk")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	if err := talk.Finish(&got); err != nil || len(got) != 1 || got[0] != 0 {
		t.Errorf("%v, %v", got, err)
	}
	const want = "exit status 3\nwhat is wrong"
	if _, err := StartTalk(t.Context(), AnyCPU, "fail"); err == nil || err.Error() != "fail: "+want {
		t.Errorf("of one that does not get ready: error %v", err)
	}
	talk, err = StartTalk(t.Context(), AnyCPU, "fail-later")
	if err != nil {
		t.Fatal(err)
	}
	if err := talk.Finish(&got); err == nil || err.Error() != "fail-later: "+want {
		t.Errorf("of one that fails: error %v", err)
	}
}

// A process ends with its context, and when it is killed.
func TestTalkEnds(t *testing.T) {
	for name, end := range map[string]func(*Talk, context.CancelFunc){
		"killed":    func(talk *Talk, _ context.CancelFunc) { talk.Kill() },
		"cancelled": func(talk *Talk, cancel context.CancelFunc) { cancel(); talk.Wait() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		talk, err := StartTalk(ctx, AnyCPU, "talk")
		if err != nil {
			t.Fatal(err)
		}
		end(talk, cancel)
		cancel()
		if talk.ProcessState == nil || talk.ProcessState.Success() {
			t.Errorf("%s: its state is %v", name, talk.ProcessState)
		}
	}
}

func TestTail(t *testing.T) {
	var out tail
	if out.text() != "" {
		t.Error("nothing was written")
	}
	for range 10_000 {
		out.Write([]byte("line\n"))
	}
	out.Write([]byte("last\n"))
	if s := out.text(); len(s) > tailSize+1 || len(out.b) > tailSize || !strings.HasSuffix(s, "\nlast") {
		t.Errorf("%d bytes kept, %d told, ending %q", len(out.b), len(s), s[len(s)-10:])
	}
}
