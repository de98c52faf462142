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
	if err := checkNumbers("", valueOf(r)); err != nil {
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

// checkNumbers checks all numbers in a value with the given key.
func checkNumbers(key string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return fmt.Errorf("%s: %v is negative", key, v)
		} else if v.Int() > maxNumber {
			return fmt.Errorf("%s: %v is too large", key, v)
		}
	case reflect.Float64:
		if v.Float() < 0 && !strings.HasSuffix(key, ".at_s") { // which is negative before the measured part
			return fmt.Errorf("%s: %v is negative", key, v)
		} else if !(math.Abs(v.Float()) <= maxNumber) {
			return fmt.Errorf("%s: %v is too large", key, v)
		}
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return checkNumbers(key, v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if err := checkNumbers(fmt.Sprintf("%s[%d]", key, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if err := checkNumbers(fmt.Sprintf("%s[%q]", key, k), v.MapIndex(k)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name == "" { // of a type of another package, such as time.Time
				continue
			}
			if err := checkNumbers(strings.TrimPrefix(key+"."+name, "."), v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}
