//go:build linux

package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
)

// Options are the flags of every scenario.
type Options struct {
	Quick     bool   `help:"A short run, to see that everything works. It sets rounds, times and sizes itself, and its figures mean little."`
	JSON      string `name:"json" placeholder:"FILE" type:"path" help:"Keep the raw results in this file."`
	Out       string `placeholder:"DIR" type:"path" help:"Write results.md, results.json, results.txt (Go's benchmark format, for benchstat) and pictures (SVG) into this directory. It is made if it is not there."`
	ServerCPU int    `default:"-2" placeholder:"CORE" help:"The core servers run on, -1 for any (default: 0; any, if that is not there)."`
	ClientCPU int    `default:"-2" placeholder:"CORE" help:"The core clients run on, -1 for any (default: 1; any, if that is not there)."`
	Tlsdemo   string `placeholder:"PROGRAM" type:"path" help:"A tlsdemo to measure instead of this checkout's."`
}

// Vars are what the flags of scenarios refer to.
func Vars() map[string]string {
	var names, usual []string
	for _, e := range Entries() {
		names = append(names, e.Name)
		if e.Usual {
			usual = append(usual, e.Name)
		}
	}
	list := func(names []string) string { return strings.Join(names, ",") }
	return map[string]string{
		"scenarios": list(names), "usual": list(usual),
		"keys": "rsa2048,rsa3072,rsa4096,ecdsa-p256", "rsakeys": "rsa2048,rsa3072,rsa4096",
		"https": list(peer.Names(peer.HTTPS)), "tls_handshakes": list(peer.Names(peer.HTTPS, peer.GRPC)), "echo": list(peer.Names(peer.TLSEcho, peer.PlainEcho)), "peers": list(peer.Names(peer.HTTPS, peer.TLSEcho, peer.PlainEcho)),
	}
}

// checkFlags finds flags that make no sense, before anything is started. A list must
// not be empty. A flag with the tag "min" must not be less than that, nor may an
// element of a list. Scenarios with further rules have a method
// check.
func checkFlags(flags any) error {
	var errs []error
	v := reflect.ValueOf(flags).Elem()
	for i := range v.NumField() {
		field, values := v.Type().Field(i), []reflect.Value{v.Field(i)}
		name := "--" + cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name))
		if list := v.Field(i); list.Kind() == reflect.Slice {
			values = nil
			for j := range list.Len() {
				values = append(values, list.Index(j))
			}
			if len(values) == 0 {
				errs = append(errs, errors.New(name+": it is empty"))
			}
		}
		least, ok := field.Tag.Lookup("min")
		if !ok {
			continue
		}
		for _, value := range values {
			if lessThan(value, least) {
				errs = append(errs, fmt.Errorf("%s: %v, at least %s is needed", name, value, least))
			}
		}
	}
	if c, ok := flags.(interface{ check() error }); ok {
		errs = append(errs, c.check())
	}
	return errors.Join(errs...)
}

// lessThan compares a number or a time with one in a tag.
func lessThan(value reflect.Value, least string) bool {
	switch v := value.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(least)
		return err != nil || v < d
	case int:
		n, err := strconv.Atoi(least)
		return err != nil || v < n
	}
	panic("a flag of type " + value.Type().String() + " has no least value")
}

// measuringArgs returns a command line without the flags that say where to keep
// the results: they do not tell a reader what was measured.
func measuringArgs(args []string) (kept []string) {
	for i := 0; i < len(args); i++ {
		switch flag, _, joined := strings.Cut(args[i], "="); {
		case flag != "--json" && flag != "--out":
			kept = append(kept, args[i])
		case !joined:
			i++ // the value
		}
	}
	return kept
}

// canKeep finds out whether keep can write where the options say: not after an
// hour of measuring. It makes the directory.
func (o *Options) canKeep() error {
	var errs []error
	if o.JSON != "" {
		if info, err := os.Stat(o.JSON); err == nil && info.IsDir() {
			errs = append(errs, fmt.Errorf("--json: %s is a directory", o.JSON))
		} else if err := canWrite(filepath.Dir(o.JSON)); err != nil {
			errs = append(errs, fmt.Errorf("--json: %w", err))
		}
	}
	if o.Out != "" {
		if err := cmp.Or(os.MkdirAll(o.Out, 0o755), canWrite(o.Out)); err != nil {
			errs = append(errs, fmt.Errorf("--out: %w", err))
		}
	}
	return errors.Join(errs...)
}

// canWrite says whether a file can be made in a directory.
func canWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".benchmarks-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// keep writes files as the options say: raw is for --json.
func (o *Options) keep(out *report.Outcome, raw any) error {
	var errs []error
	if o.JSON != "" {
		errs = append(errs, report.WriteJSON(o.JSON, raw))
	}
	if o.Out != "" {
		errs = append(errs, out.Write(o.Out))
	}
	return errors.Join(errs...)
}
