package main

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"host:8443", "host:8443"},
		{"host", "host:443"},
		{"host:https", "host:443"},
		{"127.0.0.1", "127.0.0.1:443"},
		{"[::1]:8443", "[::1]:8443"},
		{"[::1]", "[::1]:443"},
		{"[fe80::1%eth0]:443", "[fe80::1%eth0]:443"},
		{"https://host", "host:443"},
		{"https://host/", "host:443"},
		{"HTTPS://host:8443", "host:8443"},
		{"https://[::1]:8443/", "[::1]:8443"},
	} {
		if got, err := parseTarget(test.text); got != test.want || err != nil {
			t.Errorf("%s: %q, %v, want %s", test.text, got, err, test.want)
		}
	}
	for _, test := range []struct{ text, says string }{
		{"", "has no host"},
		{":443", "has no host"},
		{"https://", "has no host"},
		{"host:", "host means port 443"},
		{"host:0", "from 1 to 65535"},
		{"host:65536", "from 1 to 65535"},
		{"host:no-such-service", `"no-such-service" is not a port`},
		{"a:b:c", "is not HOST:PORT"},
		{"[::1", "is not HOST:PORT"},
		{"::1]", "is not HOST:PORT"},
		{"[[::1]]", "is not HOST:PORT"},
		{"[::1]x", "is not HOST:PORT"},
		{"::1:443", "[::1]:443 or [::1:443]:443"},
		{"2001:db8::7", "[2001:db8::7]:443"},
		{"fe80::1%eth0:443", "[fe80::1%eth0]:443"},
		{"http://host/", "only https"},
		{"https://user:secret@host/", "leave it out"},
		{"https://host:8443/path", "host:8443 --request /path"},
		{"https://host/a b?c", "host --request '/a b?c'"},
		{"https://host?c=d", "host --request '/?c=d'"},
	} {
		got, err := parseTarget(test.text)
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), `target "`+test.text+`"`) {
			t.Errorf("%s: %q, %v, want an error with the target and %q", test.text, got, err, test.says)
		}
	}
}
