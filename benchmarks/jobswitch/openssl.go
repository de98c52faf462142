package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The C program is in a folder of its own, so that the go command does not
// take it for a part of this package.
//
//go:embed openssl/async.c
var asyncC []byte

// openSSL compiles the C program in dir. It returns the version of OpenSSL and
// its contenders; the error says why there are none.
func openSSL(dir string) (version string, _ []*contender, _ error) {
	source, program := filepath.Join(dir, "async.c"), filepath.Join(dir, "async")
	if err := os.WriteFile(source, asyncC, 0o600); err != nil {
		return "", nil, err
	}
	if _, err := output("cc", "-O2", "-o", program, source, "-lcrypto"); err != nil {
		return "", nil, err
	}
	version, err := output(program, "version")
	if err != nil {
		return "", nil, err
	}
	measure := func(operation string) func(time.Duration) (float64, error) {
		return func(d time.Duration) (float64, error) {
			ms := strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64)
			ns, err := output(program, operation, ms)
			if err != nil {
				return 0, err
			}
			return strconv.ParseFloat(ns, 64)
		}
	}
	return version, []*contender{
		{operation: resumePause, name: "OpenSSL ASYNC_JOB", openssl: true, measure: measure("resume")},
		{operation: startFinish, name: "OpenSSL ASYNC_JOB", openssl: true, measure: measure("start")},
	}, nil
}

// output runs a command and returns what it printed. The error contains the
// first line of what it complained of.
func output(name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		complaint, _, _ := strings.Cut(stderr.String(), "\n")
		return "", fmt.Errorf("%s: %w %s", filepath.Base(name), err, complaint)
	}
	return strings.TrimSpace(string(out)), nil
}
