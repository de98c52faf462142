package load

import (
	"fmt"
	"math"
	"reflect"
	"strings"
)

// This file checks results that come from files.

const (
	// maxNumber is the greatest number of a result, so that sums of MaxParts results
	// do not overflow, and every JSON library reads it as it is.
	maxNumber = 1 << 53

	// maxHistograms bounds the time that a check takes.
	maxHistograms = 20_000
)

// Check returns an error that names a key whose value cannot be: a number that is
// negative or too large, or a histogram that cannot be decoded or has another number of
// samples than the result.
func (r *Result) Check() error {
	if len(r.Machines) > MaxParts {
		return fmt.Errorf("machines: more than %d", MaxParts)
	}
	if err := checkNumbers(r); err != nil {
		return err
	}
	n := 0
	for s := range r.stored() {
		if s.Histogram == "" {
			continue
		}
		if n++; n > maxHistograms {
			return fmt.Errorf("%s: more than %d histograms", s.key, maxHistograms)
		}
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// checkNumbers checks all numbers in a part of a result.
func checkNumbers[T any](part *T) error {
	if path, problem := badNumber("", valueOf(part)); problem != "" {
		return fmt.Errorf("%s: %s", strings.TrimPrefix(path, "."), problem)
	}
	return nil
}

// badNumber looks for a number that cannot be in the value of a key. It returns the path
// to it from there, and what is wrong; both are empty if all is well.
func badNumber(key string, v reflect.Value) (path, problem string) {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return "", fmt.Sprintf("%d is negative", v.Int())
		} else if v.Int() > maxNumber {
			return "", fmt.Sprintf("%d is too large", v.Int())
		}
	case reflect.Float64:
		if v.Float() < 0 && key != "at_s" { // which is negative before the measured part
			return "", fmt.Sprintf("%v is negative", v.Float())
		} else if !(math.Abs(v.Float()) <= maxNumber) {
			return "", fmt.Sprintf("%v is too large", v.Float())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return badNumber(key, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if path, problem := badNumber(key, v.Index(i)); problem != "" {
				return fmt.Sprintf("[%d]%s", i, path), problem
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if path, problem := badNumber(key, entries.Value()); problem != "" {
				return fmt.Sprintf("[%q]%s", entries.Key(), path), problem
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name == "" { // of a type of another package, such as time.Time
				continue
			}
			if path, problem := badNumber(name, v.Field(i)); problem != "" {
				return "." + name + path, problem
			}
		}
	}
	return "", ""
}
