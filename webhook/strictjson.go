package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// readObject reads one JSON object and nothing after it. Keys named in watched
// may occur once only, counting those that differ in case; with "*" every key may
// occur once, and those that differ in case are different ones. encoding/json
// alone takes the last of several and ignores case, so that two readers of one
// signed body could see two different payments.
func readObject(raw []byte, watched ...string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	object := make(map[string]json.RawMessage)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		name, _ := token.(string) // within an object every key is a string
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := ambiguous(object, name, watched); err != nil {
			return nil, err
		}
		object[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: data after the object", ErrMalformed)
	}
	return object, nil
}

func ambiguous(object map[string]json.RawMessage, name string, watched []string) error {
	for _, field := range watched {
		switch {
		case field == "*":
			if _, repeated := object[name]; repeated {
				return fmt.Errorf("%w: key %q is repeated", ErrMalformed, name)
			}
		case !strings.EqualFold(field, name):
			continue
		case field != name:
			return fmt.Errorf("%w: key %q is written in another case", ErrMalformed, field)
		default:
			if _, repeated := object[name]; repeated {
				return fmt.Errorf("%w: key %q is repeated", ErrMalformed, name)
			}
		}
	}
	return nil
}

// readString reads a string; null and absence leave it empty.
func readString(object map[string]json.RawMessage, name string, into *string) error {
	raw, ok := object[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if raw[0] != '"' || json.Unmarshal(raw, into) != nil {
		return fmt.Errorf("%w: %q is not a string", ErrMalformed, name)
	}
	return nil
}

// readNumber reads the digits of a number, or of a string that holds one: the
// documentation shows numbers, some payment APIs send strings. Null and absence
// give "".
func readNumber(object map[string]json.RawMessage, name string) (string, error) {
	raw, ok := object[name]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	var number json.Number
	if json.Unmarshal(raw, &number) != nil {
		return "", fmt.Errorf("%w: %q is not a number", ErrMalformed, name)
	}
	return number.String(), nil
}
