package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// This file reads results.

// maxInput is the maximum size of a result, in bytes. The largest real results, of long
// sweeps with many targets, are a hundredth of this.
const maxInput = 16 << 20

// ErrNoResult is wrapped by Read's errors about input that is not a result.
var ErrNoResult = errors.New("not a result of tlsdemo load --json")

// keys are the keys that every result has.
var keys = []string{"handshakes", "errors", "handshakes_per_s", "duration_s", "latency_us", "phases_us", "client", "total", "settings", "environment"}

// Read reads a result in JSON, as "tlsdemo load --json" writes it. It ignores unknown
// keys, which a later version may have added. If the input is not a result, Read returns
// an error that wraps ErrNoResult and says what is wrong.
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

// noResult rewords the JSON package's errors for people who do not write Go.
func noResult(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: invalid JSON at byte %d: %w", ErrNoResult, syntax.Offset, err)
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Errorf("%w: %q is a JSON %s", ErrNoResult, typ.Field, typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("%w: it is a JSON %s, not an object", ErrNoResult, typ.Value)
	}
	return fmt.Errorf("%w: %w", ErrNoResult, err)
}
