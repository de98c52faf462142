//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jobloop/jobloop/benchmarks/internal/scenario"
)

var documented = regexp.MustCompile("(?m)go run -C benchmarks \\.([^`#\\n]*)")

// Every command that a document shows has the flags that it is shown with.
func TestDocumentedCommands(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.md", "../*.md", "../docs/*.md", "../gnetjobs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	commands := make(map[string]bool) // the first word, or "" for none
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			args := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(m[1]))
			if len(args) > 0 && args[len(args)-1] == "--help" {
				args = args[:len(args)-1]
			}
			k, err := parser()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Parse(args); err != nil {
				t.Errorf("%s: %s: %v", file, m[0], err)
			}
			if len(args) > 0 {
				commands[args[0]] = true
			}
		}
	}
	for _, e := range scenario.Entries() {
		if !commands[e.Name] {
			t.Errorf("no document shows %s", e.Name)
		}
	}
}
