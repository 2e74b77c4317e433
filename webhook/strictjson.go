package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// readObject reads one JSON object and nothing after it. A key named in watched may
// occur only once, in any case of its letters; with "*" no key may be repeated.
// encoding/json takes the last of several keys and ignores case, so two readers of
// one signed body could see two different payments.
func readObject(raw []byte, watched ...string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: not one JSON value", ErrMalformed)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw)) // which cannot fail from here on
	if open, _ := decoder.Token(); open != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	object := make(map[string]json.RawMessage)
	for decoder.More() {
		var value json.RawMessage
		token, _ := decoder.Token()
		name, _ := token.(string)
		if err := errors.Join(ambiguous(object, name, watched), decoder.Decode(&value)); err != nil {
			return nil, err
		}
		object[name] = value
	}
	return object, nil
}

func ambiguous(object map[string]json.RawMessage, name string, watched []string) error {
	for _, field := range watched {
		_, repeated := object[name]
		switch {
		case field != "*" && !strings.EqualFold(field, name):
		case field != "*" && field != name:
			return fmt.Errorf("%w: key %q is written in another case", ErrMalformed, field)
		case repeated:
			return fmt.Errorf("%w: key %q is repeated", ErrMalformed, name)
		}
	}
	return nil
}

// readString reads a string; it leaves the target empty for null and an absent field.
func readString(object map[string]json.RawMessage, name string, into *string) error {
	raw, ok := object[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, into) != nil {
		return fmt.Errorf("%w: %q is not a string", ErrMalformed, name)
	}
	return nil
}

// readNumber returns the digits of a number, or of a string that holds one: Axra
// documents numbers, but some payment APIs send strings. Null and an absent field
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
