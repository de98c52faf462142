package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile calls f to write a file. A regular file is written under a temporary name
// in the same directory and then renamed, so that readers see the old file or the new
// one, never a part.
func writeFile(path string, f func(io.Writer) error) error {
	d, err := destinationOf(path)
	if err != nil {
		return err
	}
	if d.device {
		return d.writeThrough(f)
	}
	tmp, err := d.create()
	if err != nil {
		return err
	}
	if err = errors.Join(f(tmp), tmp.Chmod(d.mode), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), d.target)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return d.failed(err)
	}
	return nil
}

// checkWritable returns an error if writeFile could not write to path, or would replace the
// file that standard output goes to.
func checkWritable(path string, stdout io.Writer) error {
	if path == "" || path == "-" {
		return nil
	}
	d, err := destinationOf(path)
	if err != nil || d.device {
		return err
	}
	if f, ok := unwatched(stdout).(*os.File); ok {
		info, err := f.Stat()
		if old, oldErr := os.Stat(path); err == nil && oldErr == nil && os.SameFile(info, old) {
			return fmt.Errorf("write %s: standard output goes to that file: write - instead", path)
		}
	}
	tmp, err := d.create()
	if err != nil {
		return err
	}
	if err := errors.Join(tmp.Close(), os.Remove(tmp.Name())); err != nil {
		return d.failed(err)
	}
	return nil
}

// destination is a file to write.
type destination struct {
	path   string // as the user has given it
	target string // path without symbolic links
	mode   os.FileMode
	device bool // or a pipe: it is written to, and not replaced
}

func destinationOf(path string) (*destination, error) {
	d := &destination{path: path, target: path, mode: 0o644} // not the 0600 of CreateTemp: others may read it
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return d, nil // a new file; if it cannot be made, create says why
	case info.IsDir():
		return nil, fmt.Errorf("write %s: it is a directory", path)
	case !info.Mode().IsRegular():
		d.device = true
		return d, nil
	}
	d.mode = info.Mode().Perm()
	if d.target, err = filepath.EvalSymlinks(path); err != nil {
		return nil, d.failed(err)
	}
	return d, nil
}

// create makes the temporary file.
func (d *destination) create() (*os.File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(d.target), "."+filepath.Base(d.target)+".*")
	if err != nil {
		return nil, d.failed(err)
	}
	return tmp, nil
}

// writeThrough calls f to write to a device or pipe.
func (d *destination) writeThrough(f func(io.Writer) error) error {
	out, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		return d.failed(err)
	}
	if err := errors.Join(f(out), out.Close()); err != nil {
		return d.failed(err)
	}
	return nil
}

// failed returns an error with the name that the user has given. That of the temporary
// file says nothing to anybody.
func (d *destination) failed(err error) error {
	var (
		path *fs.PathError
		link *os.LinkError
	)
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("write %s: %w", d.path, err)
}

// sameFile reports whether two paths are, or would be, the same file. The null device is
// no file: it may be named more than once.
func sameFile(a, b string) bool {
	info, err := os.Stat(a)
	other, otherErr := os.Stat(b)
	if err == nil && otherErr == nil {
		null, nullErr := os.Stat(os.DevNull)
		return os.SameFile(info, other) && (nullErr != nil || !os.SameFile(info, null))
	}
	return err != nil && otherErr != nil && whole(a) == whole(b)
}

// whole returns the absolute path of a file that there is not yet, without symbolic links.
func whole(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return path
}
