package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.html")
	has := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("the file has %q, %v; want %q", b, err, want)
		}
	}
	if err := writeFile(path, text("one")); err != nil {
		t.Fatal(err)
	}
	has("one")
	failed := errors.New("failed")
	err := writeFile(path, func(w io.Writer) error { return errors.Join(text("half")(w), failed) })
	if !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	has("one")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("x.html", link); err != nil {
		t.Skip(err)
	}
	if err := writeFile(link, text("two")); err != nil {
		t.Fatal(err)
	}
	has("two")
	if err := writeFile(dir, text("")); err == nil {
		t.Error("a directory was written")
	}
	if err := writeFile(filepath.Join(dir, "none", "x"), text("")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, ".*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// A file that is not regular is written to, not replaced.
func TestWriteFileToPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := "/dev/fd/" + strconv.Itoa(int(w.Fd()))
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	if err := writeFile(path, text("through")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "through" {
		t.Errorf("read %q, %v", b, err)
	}
}

// Errors have the name that was given, not that of the temporary file.
func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.html")
	err := writeFile(path, func(w io.Writer) error {
		f := w.(*os.File)
		f.Close()
		return text("late")(f)
	})
	if !errors.Is(err, os.ErrClosed) || err.Error() != "write "+path+": "+os.ErrClosed.Error() {
		t.Errorf("error %v", err)
	}
	none := filepath.Join(dir, "none", "x")
	for what, err := range map[string]error{"checkWritable": checkWritable(none, nil), "writeFile": writeFile(none, text(""))} {
		if !errors.Is(err, os.ErrNotExist) || err.Error() != "write "+none+": no such file or directory" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A file that standard output goes to would be replaced by another one.
func TestCheckWritableStandardOutput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	con := &console{out: f}
	con.watch()
	if err := checkWritable(path, con.out); err == nil || !strings.Contains(err.Error(), "write -") {
		t.Errorf("the file of standard output: %v", err)
	}
	if err := checkWritable(path+"2", con.out); err != nil {
		t.Errorf("another file: %v", err)
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("a", "link"), os.Link("a", "hard"), os.Mkdir("sub", 0o700), os.Symlink("sub", "linked")); err != nil {
		t.Skip(err)
	}
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"a", "./a", true},
		{"a", filepath.Join(dir, "a"), true},
		{"a", "link", true},
		{"a", "hard", true},
		{"a", "b", false},
		{"a", "new", false},
		{"new", "sub/../new", true},
		{"new", "other", false},
		{"sub/new", "linked/new", true},
		{"sub/new", "new", false},
		{"none/new", "none/new", true},
		{os.DevNull, os.DevNull, false},
	} {
		if sameFile(test.a, test.b) != test.same || sameFile(test.b, test.a) != test.same {
			t.Errorf("%s and %s: want %v", test.a, test.b, test.same)
		}
	}
}
