package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/jobloop/jobloop/internal/load"
)

// This file records the command line in the result.

// settings returns the command and its flags, as the result records them. Flags that do
// not change the load, and those without a value, are left out.
func settings(parsed *kong.Context, cfg load.Config) load.Settings {
	s := load.Settings{Command: "tlsdemo " + shellQuoted(parsed.Args), Flags: make(map[string]string)}
	for _, f := range parsed.Selected().Flags {
		if f.Group == nil || f.Group.Key != "load" && f.Group.Key != "tls" || f.Name == "sweep-p99" {
			continue
		}
		if v := fmt.Sprint(parsed.FlagValue(f)); v != "" && v != "false" && v != "0" && v != "0s" && v != "[]" && v != "<nil>" {
			s.Flags[f.Name] = v
		}
	}
	s.Flags["connections"] = fmt.Sprint(cfg.Connections)
	s.Flags["reset"] = fmt.Sprint(cfg.Reset)
	s.Flags["warmup"] = cfg.Warmup.String()
	if cfg.Sweep != nil {
		s.Flags["sweep-p99"] = cfg.Sweep.P99.String()
	}
	if cfg.Rate > 0 {
		s.Flags["rate"] = fmt.Sprint(cfg.Rate)
	}
	if cfg.Duration > 0 {
		s.Flags["duration"] = cfg.Duration.String()
	}
	return s
}

// shellQuoted returns a command line that a shell splits into these arguments.
func shellQuoted(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=+,./:%@", r))
		}) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
