//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are those of every part.
type options struct {
	Quick     bool   `help:"A short run, to see that everything works. Its figures mean little."`
	JSON      string `name:"json" placeholder:"FILE" type:"path" help:"Keep the raw results."`
	ServerCPU int    `default:"0" help:"The core servers run on, -1 for any."`
	ClientCPU int    `default:"1" help:"The core clients run on, -1 for any."`
	Tlsdemo   string `placeholder:"PROGRAM" type:"path" help:"A tlsdemo to measure instead of this checkout's."`
}

// report is what a run leaves behind, as JSON.
type report struct {
	Part    string    `json:"part"`
	Command string    `json:"command"`
	Machine string    `json:"machine"`
	Load    string    `json:"load"` // average, before the run
	Started time.Time `json:"started"`
	Results any       `json:"results"`
}

func newReport(part string) (*report, error) {
	r := &report{
		Part:    part,
		Command: "go run ./benchmarks " + strings.Join(os.Args[1:], " "),
		Started: time.Now().Round(time.Second),
	}
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	load := strings.Fields(string(b))
	if len(load) < 3 {
		return nil, fmt.Errorf("/proc/loadavg is %q", b)
	}
	r.Load = strings.Join(load[:3], " ")
	if r.Machine, err = machine(); err != nil {
		return nil, err
	}
	return r, nil
}

// machine describes what the figures were measured on.
func machine() (string, error) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return fmt.Sprintf("%s, %d cores, Linux %s %s, %s", cpuModel(b), runtime.NumCPU(),
		unix.ByteSliceToString(uts.Release[:]), runtime.GOARCH, runtime.Version()), nil
}

func cpuModel(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		// arm64 has no model name.
		if key, value, _ := strings.Cut(string(line), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// finish keeps the raw results, if that is asked for, and prints the tables and
// what a reader must know to weigh them.
func (r *report) finish(o *options, notes []string, tables ...*table) error {
	if o.JSON != "" {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%s; %s; revision %s; load before %s.\n", r.Machine, r.Started.Format(time.DateOnly), revision(), r.Load)
	fmt.Printf("`%s`\n", r.Command)
	for _, t := range tables {
		fmt.Println()
		if err := t.write(os.Stdout); err != nil {
			return err
		}
	}
	if len(notes) > 0 {
		fmt.Println()
		for _, n := range notes {
			fmt.Println("- " + n)
		}
	}
	return nil
}

// revision is the commit that is measured. The go command does not record it in
// programs it runs.
func revision() string {
	b, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// progress tells whoever waits what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// inTempDir gives f a directory that is removed afterwards.
func inTempDir(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "jobloop-benchmarks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(dir)
}
