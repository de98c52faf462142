package load

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file says in words what several machines have in common and what not.

// value is a value that some machines have.
type value struct {
	text  string
	names []string // of the machines
}

// valuesOf returns the different values, in the order in which they appear.
func valuesOf(machines []Machine, of func(*Machine) string) []value {
	var values []value
	index := make(map[string]int)
	for i := range machines {
		text := of(&machines[i])
		k, ok := index[text]
		if !ok {
			k = len(values)
			index[text] = k
			values = append(values, value{text: text})
		}
		values[k].names = append(values[k].names, machines[i].Name)
	}
	return values
}

// list joins at most four texts, and says how many more there are.
func list(texts []string, separator string) string {
	const most = 4
	if n := len(texts) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], separator), n)
	}
	return strings.Join(texts, separator)
}

// joined lists the different values, without the empty one.
func joined(machines []Machine, of func(*Machine) string) string {
	var texts []string
	for _, v := range valuesOf(machines, of) {
		if v.text != "" {
			texts = append(texts, v.text)
		}
	}
	return list(texts, ", ")
}

// differ says who has which value; it is empty if all have the same.
func differ(machines []Machine, of func(*Machine) string) string {
	values := valuesOf(machines, of)
	if len(values) == 1 {
		return ""
	}
	var texts []string
	for _, v := range values {
		text := v.text
		if text == "" {
			text = "not set"
		}
		texts = append(texts, text+" in "+list(v.names, ", "))
	}
	return list(texts, "; ")
}

// added are the flags whose numbers are added: together, the machines do so much.
var added = []string{"connections", "count", "rate"}

// own are the flags that differ between machines by their nature.
var own = []string{"source", "start-at", "seed", "ca", "client-cert", "client-key"}

func flagOf(name string) func(*Machine) string {
	return func(m *Machine) string { return m.Settings.Flags[name] }
}

// flagsOf returns the names of all flags, sorted.
func flagsOf(machines []Machine) []string {
	all := make(map[string]bool)
	for _, m := range machines {
		for name := range m.Settings.Flags {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// settingsOf returns the settings of a merged result. Where they differ, a flag has all
// its values.
func settingsOf(machines []Machine) Settings {
	s := Settings{Command: joined(machines, func(m *Machine) string { return m.Settings.Command }), Flags: make(map[string]string)}
	for _, name := range flagsOf(machines) {
		if sum, ok := sumOf(machines, flagOf(name)); ok && slices.Contains(added, name) {
			s.Flags[name] = sum
		} else {
			s.Flags[name] = joined(machines, flagOf(name))
		}
	}
	return s
}

// sumOf adds up numbers; ok is false if a machine has none.
func sumOf(machines []Machine, of func(*Machine) string) (sum string, ok bool) {
	total := 0.0
	for i := range machines {
		n, err := strconv.ParseFloat(of(&machines[i]), 64)
		if err != nil {
			return "", false
		}
		total += n
	}
	return strconv.FormatFloat(total, 'f', -1, 64), true
}

// environmentOf returns the environment of a merged result. Where they differ, it has all
// values. The cores are added.
func environmentOf(machines []Machine) Environment {
	var e Environment
	fields := valueOf(&e)
	for i := range fields.NumField() {
		if fields.Field(i).Kind() == reflect.String {
			fields.Field(i).SetString(joined(machines, func(m *Machine) string { return valueOf(&m.Environment).Field(i).String() }))
		}
	}
	for _, m := range machines {
		e.Cores += m.Environment.Cores
	}
	return e
}

func valueOf[T any](p *T) reflect.Value { return reflect.ValueOf(p).Elem() }

// sameSeed names machines whose open loops had the same schedule; it is empty if there are
// none.
func sameSeed(machines []Machine) string {
	for _, v := range valuesOf(machines, flagOf("seed")) {
		if len(v.names) > 1 && v.text != "" && machines[0].Settings.Flags["rate"] != "" {
			return list(v.names, ", ")
		}
	}
	return ""
}

// stoppedOf says which machines ended early; it is empty if none did.
func stoppedOf(machines []Machine) string {
	var texts []string
	for _, v := range valuesOf(machines, func(m *Machine) string { return m.Stopped }) {
		if v.text != "" {
			texts = append(texts, fmt.Sprintf("%s (%s)", v.text, list(v.names, ", ")))
		}
	}
	return list(texts, ", ")
}

// togetherShare is the share of the whole time in which all machines must have measured.
// With less, a warning says so.
const togetherShare = 0.9

// warningsOf returns the warnings about a merge, and those of each machine.
func warningsOf(machines []Machine, t times) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	const remedy = "The rate adds what they did at different times. Begin them together (--start-at)."
	short := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	if t.common == 0 && t.whole > 0 {
		warn("the measured parts do not overlap: %s began %v after %s had ended. %s",
			t.last.Name, short(t.last.MeasuredFrom.Sub(t.earliest.measuredUntil())), t.earliest.Name, remedy)
	} else if t.common.Seconds() < togetherShare*t.whole.Seconds() {
		warn("the measured parts overlap for only %v of %v: %s began first, %s %v later, and %s ended first. %s",
			short(t.common), short(t.whole), t.first.Name, t.last.Name, short(t.last.MeasuredFrom.Sub(t.first.MeasuredFrom)), t.earliest.Name, remedy)
	}
	if text := stoppedOf(machines); text != "" {
		warn("not all ran to their end: %s.", text)
	}
	for _, name := range flagsOf(machines) {
		if text := differ(machines, flagOf(name)); text != "" && !slices.Contains(own, name) {
			warn("--%s differs: %s.", name, text)
		}
	}
	if text := sameSeed(machines); text != "" {
		warn("%s have the same --seed: their handshakes were due at the same moments. Give each machine its own.", text)
	}
	if text := differ(machines, func(m *Machine) string { return list(m.Targets, ", ") }); text != "" {
		warn("the targets differ: %s.", text)
	}
	if text := differ(machines, func(m *Machine) string { return m.Environment.Version }); text != "" {
		warn("the versions of tlsdemo differ: %s.", text)
	}
	for _, m := range machines {
		for _, text := range m.Warnings {
			warn("%s: %s", m.Name, text)
		}
	}
	return warnings
}
