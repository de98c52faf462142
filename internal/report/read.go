package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jobloop/jobloop/internal/load"
)

// This file reads results.

// Limits of a result. The largest real ones, merged from many machines that load many
// targets, have about a tenth of this. A value may take a hundred times as much memory
// as its text.
const (
	maxInput  = 16 << 20 // bytes
	maxValues = 250_000
)

// ErrNoResult is wrapped by Read's errors about input that is not a result.
var ErrNoResult = errors.New("not a result of tlsdemo load --json")

// keys are the keys that every result has.
var keys = []string{"handshakes", "errors", "handshakes_per_s", "duration_s", "latency_us", "phases_us", "client", "total", "settings", "environment"}

// Read reads a result in JSON, as "tlsdemo load --json" writes it, with any version of
// its schema up to load.Schema. It ignores unknown keys. If the input is not a result, or
// one whose figures cannot be, Read returns an error that wraps ErrNoResult and says
// what is wrong. The input may come from anywhere.
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
	if bytes.Count(text, []byte{','}) >= maxValues {
		return nil, fmt.Errorf("%w: it has more than %d values", ErrNoResult, maxValues)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, noResult(err)
	}
	if err := checkSchema(fields["schema"]); err != nil {
		return nil, err
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
	if err := result.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoResult, err)
	}
	return result, nil
}

// checkSchema checks the version of the schema, which old results do not have.
func checkSchema(text json.RawMessage) error {
	if text == nil {
		return nil
	}
	var schema int
	if err := json.Unmarshal(text, &schema); err != nil || schema < 0 {
		return fmt.Errorf("%w: \"schema\" is %.20q", ErrNoResult, text)
	}
	if schema > load.Schema {
		return fmt.Errorf("a newer tlsdemo made it: its schema is %d, and this tlsdemo reads up to %d", schema, load.Schema)
	}
	return nil
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
