package panicvalue

import (
	"errors"
	"testing"
	"time"
)

type evil struct{}

func (e evil) String() string { panic(e) }

type evilError struct{}

func (e *evilError) Error() string { panic(e) }

type tree struct{ left *tree }

func TestText(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	list := []any{nil}
	list[0] = list
	self := &tree{}
	self.left = self
	for _, tt := range []struct {
		v    any
		want string
	}{
		{nil, "<nil>"},
		{"text", "text"},
		{42, "42"},
		{errors.New("an error"), "an error"},
		{time.Second, "1s"},
		{struct{ A, B int }{1, 2}, "{A:1 B:2}"},
		{[]byte("ab"), "[97 98]"},
		{evil{}, "a panicvalue.evil, whose text panics"},
		{&evilError{}, "a *panicvalue.evilError, whose text panics"},
		{struct{ E evil }{}, "a struct { E panicvalue.evil }"},
		{cycle, "a map[string]interface {}"},
		{list, "a []interface {}"},
		{self, "a *panicvalue.tree"},
	} {
		if got := Text(tt.v); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if got := (Value{tt.v}).Error(); got != tt.want {
			t.Errorf("as an error %q, want %q", got, tt.want)
		}
	}
}
