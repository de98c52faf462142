package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
)

// Results of older programs have no version.
func TestReadWithoutVersion(t *testing.T) {
	old := result(400, 3000)
	old.Environment.Version = ""
	text, err := json.Marshal(old)
	if err != nil || bytes.Contains(text, []byte(`"version":"v`)) {
		t.Fatalf("error %v, a version in %s", err, text)
	}
	r, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if page := pageOf(t, Run{"old", r}); !strings.Contains(page, `<p class="when">2026-03-01 12:00:00 UTC, client.example</p>`) {
		t.Error("an old result's page does not say when and where, and only that")
	}
	page := pageOf(t, Run{"old", r}, Run{"new", result(400, 3000)})
	if _, differ, _ := strings.Cut(page, "<h2>What differs</h2>"); !strings.Contains(differ, `tlsdemo</th><td class="">–</td><td class="">v1.2.3, commit`) {
		t.Error("the comparison does not show that only one result has a version")
	}
}

func TestRead(t *testing.T) {
	good, err := json.Marshal(failing())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := pageOf(t, Run{"x", r}), pageOf(t, Run{"x", failing()}); a != b {
		t.Error("what was read makes another page than what was written")
	}
	if _, err := Read(strings.NewReader(strings.Replace(string(good), "{", `{"of_a_later_version":1,`, 1))); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":       {" \n", "empty"},
		"text":          {"hello", "byte 1"},
		"cut off":       {string(good[:len(good)/2]), "unexpected end"},
		"two":           {string(good) + string(good), "after top-level value"},
		"a list":        {"[1]", "array"},
		"another":       {`{"handshakes": 1}`, `no "errors"`},
		"a key of null": {regexp.MustCompile(`"latency_us":\{[^}]*\}`).ReplaceAllString(string(good), `"latency_us":null`), `no "latency_us"`},
		"a wrong value": {strings.Replace(string(good), `"errors":2310`, `"errors":"many"`, 1), `"errors" is a JSON string`},
		"too long":      {strings.Repeat(" ", maxInput+1), "longer than"},
	} {
		if _, err := Read(strings.NewReader(c.text)); !errors.Is(err, ErrNoResult) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
}
