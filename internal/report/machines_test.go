package report

import (
	"strings"
	"testing"
	"time"

	"github.com/jobloop/jobloop/internal/load"
)

func TestServersMachine(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		said      string
		want      string
	}{
		{[]string{"127.0.0.1:443"}, "", "on the same machine"},
		{[]string{"[::1]:443", "127.8.9.1:1"}, "", "on the same machine"},
		{[]string{"[::ffff:127.0.0.1]:443"}, "", "on the same machine"},
		{[]string{"unix:/run/s.sock"}, "", "on the same machine"},
		{[]string{"localhost:443"}, "", "on the same machine"},
		{[]string{"127.0.0.1:443", "192.0.2.7:443"}, "", "not known; load's --server records it"},
		{[]string{"[fe80::1%eth0]:443"}, "", "not known; load's --server records it"},
		{[]string{"nonsense"}, "", "not known; load's --server records it"},
		{[]string{"127.0.0.1:443"}, "Example CPU, Linux 6.1", "Example CPU, Linux 6.1"},
	} {
		r := new(load.Result)
		r.Environment.Server = c.said
		for _, a := range c.addresses {
			r.Targets = append(r.Targets, load.Target{Target: "server:443", Address: a})
		}
		if got := server(r); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.addresses, c.said, got, c.want)
		}
		page := pageOf(t, Run{"", r})
		if !strings.Contains(strings.ReplaceAll(page, "&#39;", "'"), "<dt>Server</dt><dd>"+c.want+"</dd>") {
			t.Errorf("%q: not on the page", c.want)
		}
	}
	if page := pageOf(t, Run{"", new(load.Result)}); strings.Contains(page, "<dt>") && strings.Contains(page, `class="facts"`) {
		t.Error("a result that says nothing has facts")
	}
}

// merged is a result of three runs.
func merged() *load.Result {
	r := result(9000, 3000)
	for i, start := range []int{250, 0, 1000} {
		part := result(3000, 3000)
		m := load.Machine{
			Name: "part-" + string(rune('a'+i)), Started: part.Started.Add(time.Duration(start) * time.Millisecond), Duration: 10,
			Handshakes: part.Handshakes, HandshakesPer: part.HandshakesPer, Latency: part.Latency, Client: part.Client, Environment: part.Environment,
		}
		m.Environment.Host = m.Name + ".example"
		r.Machines = append(r.Machines, m)
	}
	r.Machines[1].Latency.Count, r.Machines[1].Errors = 999, 7
	r.Machines[2].Client.Busy = .97
	return r
}

func TestMachinesSideBySide(t *testing.T) {
	var got strings.Builder
	m := machinesTable(merged())
	for _, row := range m.Rows {
		if len(row) != len(m.Head) {
			t.Errorf("%d cells under %d heads", len(row), len(m.Head))
		}
		for _, c := range row {
			got.WriteString(strings.ReplaceAll(c.Text, "\u00a0", " "))
			if c.Sub != "" {
				got.WriteString(" (" + c.Sub + ")")
			}
			got.WriteString("|")
		}
		got.WriteString("\n")
	}
	const want = `part-a|+250 ms|30,000|3,000 /s|0|3.00 ms|11.7 ms|93.0 ms|41.0 %|part-a.example|Example CPU @ 2.00GHz|Linux 6.12.0|
part-b|first|30,000|3,000 /s|7|3.00 ms|~11.7 ms|93.0 ms|41.0 %|part-b.example|Example CPU @ 2.00GHz|Linux 6.12.0|
part-c|+1.00 s|30,000|3,000 /s|0|3.00 ms|11.7 ms|93.0 ms|97.0 %|part-c.example|Example CPU @ 2.00GHz|Linux 6.12.0|
`
	if got.String() != want {
		t.Errorf("the table is\n%swant\n%s", got.String(), want)
	}
	page := pageOf(t, Run{"fleet", merged()})
	for _, s := range []string{"<h2>Machines side by side</h2>", "<dt>Client</dt><dd>3 machines, see below</dd>", `<td class="doubt num">97.0`, `<td class="bad num">7</td>`} {
		if !strings.Contains(page, s) {
			t.Errorf("no %q", s)
		}
	}
	if page := pageOf(t, Run{"one", result(400, 3000)}); strings.Contains(page, "Machines side by side") {
		t.Error("a result of one machine has a table of machines")
	}
}
