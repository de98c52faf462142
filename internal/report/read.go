package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// In this file: reading results.

// maxInput is the most bytes of a result that are read. The largest that is
// written, a long sweep's with many targets, is a hundredth of it.
const maxInput = 16 << 20

// ErrNoResult is wrapped by the errors of Read for what is not a result.
var ErrNoResult = errors.New("not a result of tlsdemo load --json")

// keys are those that every result has.
var keys = []string{"handshakes", "errors", "handshakes_per_s", "duration_s", "latency_us", "phases_us", "client", "total", "settings", "environment"}

// Read reads a result in JSON, as "tlsdemo load --json" writes it. Keys that it
// does not know are those of a later version, and no error. What is no such
// result gives an error that wraps ErrNoResult and says what is wrong with it.
func Read(r io.Reader) (*load.Result, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxInput {
		return nil, fmt.Errorf("%w: longer than %d MiB", ErrNoResult, maxInput>>20)
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrNoResult)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, noResult(err)
	}
	for _, k := range keys {
		if v, ok := fields[k]; !ok || string(v) == "null" {
			return nil, fmt.Errorf("%w: it has no %q", ErrNoResult, k)
		}
	}
	result := new(load.Result)
	if err := json.Unmarshal(text, result); err != nil {
		return nil, noResult(err)
	}
	return result, nil
}

// noResult puts the JSON package's errors in words for those who do not write
// Go.
func noResult(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: no JSON at byte %d: %w", ErrNoResult, syntax.Offset, err)
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Errorf("%w: %q is a JSON %s", ErrNoResult, typ.Field, typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("%w: it is a JSON %s, not an object", ErrNoResult, typ.Value)
	}
	return fmt.Errorf("%w: %w", ErrNoResult, err)
}
