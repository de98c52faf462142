// Package panicvalue makes text of what somebody has panicked with, which may be anything.
package panicvalue

import (
	"fmt"
	"reflect"
)

// Value is the value of a panic as an error. So it can be logged by log/slog, and its text
// is made when it is written, and by whoever writes it.
type Value struct{ V any }

func (v Value) Error() string { return Text(v.V) }

// Text returns the text of a panic's value. It calls the methods Error and String, and
// survives their panics. Of values that could contain themselves it says only the type.
func Text(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T, whose text panics", v)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	}
	if plain(reflect.TypeOf(v)) {
		return fmt.Sprintf("%+v", v)
	}
	return fmt.Sprintf("a %T", v)
}

// plain reports whether values of type t have no pointers to follow, and no methods that
// fmt would call.
func plain(t reflect.Type) bool {
	if t == nil {
		return true
	}
	switch t.Kind() {
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Slice && plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !plain(f.Type) || f.Type.NumMethod() > 0 {
				return false
			}
		}
		return true
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.Map, reflect.Pointer, reflect.UnsafePointer:
		return false
	}
	return true
}
