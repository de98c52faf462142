// Overlay makes Linux run the tests of the code for macOS and the BSDs, with
// package kqueue as their kernel. It writes files into a folder, and prints the
// argument of "go test -overlay" with which they take the place of others. Run it
// in the root of the project:
//
//	go test -vet=off -overlay $(go run ./internal/kqueue/overlay "$(mktemp -d)") ./loop
//
// With -os it takes after another system than FreeBSD: darwin, netbsd or openbsd.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const (
	emulator = "internal/kqueue"
	module   = "github.com/jobloop/jobloop"
)

func main() {
	system := flag.String("os", "freebsd", "the `system` to take after")
	flag.Parse()
	if !slices.Contains([]string{"darwin", "freebsd", "netbsd", "openbsd"}, *system) {
		fmt.Fprintf(os.Stderr, "overlay: there is no model of %s\n", *system)
		os.Exit(2)
	}
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: overlay [-os system] folder")
		os.Exit(2)
	}
	file, err := write(*system, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
	fmt.Println(file)
}

// A source is a file of another system, and the name under which Linux gets it.
type source struct{ from, to string }

func write(system, folder string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", err
	}
	names, err := declared(emulator)
	if err != nil {
		return "", err
	}
	socket := "loop/socket_unix.go"
	if system == "darwin" {
		socket = "loop/socket_darwin.go"
	}
	sources := []source{
		{"loop/kqueue_bsd.go", "loop/epoll_linux.go"},
		{"loop/sys_unix.go", "loop/sys_unix.go"},
		{socket, "loop/socket_unix.go"},
		{"engine/offload/wakefd_bsd.go", "engine/offload/wakefd_linux.go"},
		{emulator + "/system_linux.go", emulator + "/system_linux.go"},
	}
	replace := map[string]string{filepath.Join(root, "loop/epoll_linux_test.go"): ""}
	for _, s := range sources {
		text, err := os.ReadFile(s.from)
		if err != nil {
			return "", err
		}
		if s.from == s.to && filepath.Dir(s.from) == emulator {
			text = bytes.Replace(text, []byte(`"freebsd"`), []byte(strconv.Quote(system)), 1)
		} else if text, err = translate(s.from, text, names); err != nil {
			return "", err
		}
		out := filepath.Join(folder, filepath.FromSlash(s.from))
		if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
			return "", err
		}
		if err := os.WriteFile(out, text, 0o666); err != nil {
			return "", err
		}
		replace[filepath.Join(root, s.to)] = out
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "overlay.json")
	return file, os.WriteFile(file, list, 0o666)
}

// declared returns the exported names of a package.
func declared(folder string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*_linux.go"))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[d.Name.Name] = d.Recv == nil && d.Name.IsExported()
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						names[s.Name.Name] = s.Name.IsExported()
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names[n.Name] = n.IsExported()
						}
					}
				}
			}
		}
	}
	return names, nil
}

var constraint = regexp.MustCompile(`(?m)^//go:build .*$`)

// translate turns a file for another system into one for Linux. What names
// declares is taken from the emulator, not from package unix or runtime.
func translate(name string, text []byte, names map[string]bool) ([]byte, error) {
	text = constraint.ReplaceAll(text, nil)
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	left := map[string]bool{} // packages that are still used
	replaced := false
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && (x.Name == "unix" || x.Name == "runtime") {
			if names[s.Sel.Name] {
				x.Name, replaced = "kqueue", true
			} else {
				left[x.Name] = true
			}
		}
		return true
	})
	for _, im := range f.Imports {
		path, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return nil, err
		}
		if base := filepath.Base(path); (base == "unix" || base == "runtime") && !left[base] {
			im.Name = ast.NewIdent("_")
		}
	}
	var out bytes.Buffer
	if err := format.Node(&out, fset, f); err != nil {
		return nil, err
	}
	text = out.Bytes()
	if replaced {
		at := []byte("\nimport (\n")
		text = bytes.Replace(text, at, append(at, "\t"+strconv.Quote(module+"/"+emulator)+"\n"...), 1)
	}
	return text, nil
}
