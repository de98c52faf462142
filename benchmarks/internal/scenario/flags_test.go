//go:build linux

package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every scenario can be run among the others, with the flags that all of them are
// given.
func TestFlagsOfAll(t *testing.T) {
	for _, e := range Entries() {
		if args := (&All{Options: Options{ServerCPU: -2, ClientCPU: -2}}).args(e); len(args) > 0 {
			t.Errorf("%s is given %q though nothing was asked for", e.Name, args)
		}
		a := All{Options: Options{Quick: true, ServerCPU: -1, ClientCPU: 2, Tlsdemo: "/x"}, Rounds: 3}
		for _, args := range [][]string{nil, a.args(e)} {
			c, err := e.parse(args)
			if err == nil {
				err = checkFlags(c.Scenario)
			}
			if err != nil {
				t.Errorf("%s with %q: %v", e.Name, args, err)
				continue
			}
			if want := a.Options; args != nil && c.Options != want {
				t.Errorf("%s has the options %+v, want %+v", e.Name, c.Options, want)
			}
			c.quick()
			if err := checkFlags(c.Scenario); err != nil {
				t.Errorf("%s with --quick: %v", e.Name, err)
			}
		}
	}
}

// Whatever makes no sense is an error that names its flag, before anything is
// started.
func TestCheckFlags(t *testing.T) {
	for line, want := range map[string]string{
		"storm --rounds 0":                                 "--rounds: 0, at least 1 is needed",
		"storm --clients=-1":                               "--clients: -1, at least 1 is needed",
		"scaling --connections 1,0,3,0":                    "--connections: 0, at least 1 is needed\n--connections: 0, at least 1 is needed",
		"scaling --threads-connections 0":                  "--threads-connections: 0, at least 1 is needed",
		"requests --duration 10ms":                         "--duration: 10ms, at least 1s is needed",
		"echo --warmup=-1s":                                "--warmup: -1s, at least 0s is needed",
		"blocking --duration 1ms --interval 1s --warmup 0": "--duration: 1ms, at least --interval (1s) is needed",
		"handshakes --load half,none":                      "--load: it has none and others; choose",
		"overload --loads 2,0":                             "--loads: 0 times the capacity",
		"overload --loads 2,Inf":                           "--loads: +Inf times the capacity",
		"overload --patience= --quick":                     "--patience: it is empty",
		"signatures --keys=":                               "--keys: it is empty",
		"handshakes --tls=":                                "--tls: it is empty",
		"echo --servers=":                                  "--servers: it is empty",
		"overload --patience 0s":                           "--patience",
		"overload --key dsa":                               "--key",
		"overload --quick --servers=":                      "--servers: it is empty",
		"handshakes --key=":                                "--key: it is empty",
		"idle --connections=":                              "--connections: it is empty",
		"echo --servers nobody":                            "--servers",
		"idle --state half-hello --servers nginx,gnet":     "--servers: gnet has no handshakes",
	} {
		args := strings.Fields(line)
		if _, err := flags[Scenario](t, args[0], args[1:]...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", line, err, want)
		}
	}
}

func TestOverloadFlags(t *testing.T) {
	o, err := flags[*overload](t, "overload")
	if err != nil || fmt.Sprint(o.Patience) != "[500ms 1s 2s 4s]" || fmt.Sprint(o.Loads) != "[1.5 2 5 10]" || o.Key != "rsa2048" || o.Warmup != 10*time.Second || len(o.Servers) != 8 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = flags[*overload](t, "overload", "--patience", "500ms-4s,2s", "--loads", "0.5,3", "--burst")
	if err != nil || fmt.Sprint(o.Patience) != "[500ms-4s 2s]" || !o.Burst {
		t.Errorf("%v, %+v", err, o)
	}
}

func TestMeasuringArgs(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "",
		"storm --quick --server-cpu=1":      "storm --quick --server-cpu=1",
		"storm --out dir --clients 5":       "storm --clients 5",
		"storm --json=x --clients 5 --out":  "storm --clients 5",
		"--out=dir idle --outer --json x y": "idle --outer y",
	} {
		if got := strings.Join(measuringArgs(strings.Fields(line)), " "); got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
	}
}

// Results that could not be kept are found out about before anything is measured.
func TestCanKeep(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Out: file}, {Out: filepath.Join(file, "sub")}, {Out: "/proc/nothing"}, {JSON: dir}, {JSON: filepath.Join(dir, "none", "x.json")}, {JSON: "/proc/x.json"},
	} {
		c := &Command{Options: o, Scenario: new(fake)} // it would panic if it measured
		if err := c.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "--") {
			t.Errorf("%+v: error %v", o, err)
		}
	}
	for _, o := range []Options{{}, {Out: filepath.Join(dir, "new", "dir"), JSON: file}} {
		if err := o.canKeep(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
