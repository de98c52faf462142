package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var documented = regexp.MustCompile(`(?m)^\s*go run \./tlsdemo\b([^#\n&|>]*)`)

// Every command that a document shows on a line of its own has the flags that it
// is shown with.
func TestDocumentedCommands(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../gnetjobs/*.md", "../benchmarks/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	commands := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			command, _, _ := strings.Cut(strings.TrimSpace(m[1]), "   ") // before what is said about it
			args := strings.Fields(command)
			if len(args) > 0 && args[0] == "report" { // its files must be there
				continue
			}
			k, err := kong.New(new(cli), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Parse(args); err != nil {
				t.Errorf("%s: %s: %v", file, m[0], err)
			}
			commands++
		}
	}
	if commands < 5 {
		t.Errorf("only %d commands were found", commands)
	}
}
