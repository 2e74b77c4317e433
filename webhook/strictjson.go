package webhook

import (
	"bytes"
	"encoding/json"
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
	return split(raw, watched...)
}

// split is readObject for bytes that are known to be one JSON value. It reads them once,
// where a json.Decoder reads each value twice and allocates for each token.
func split(raw []byte, watched ...string) (map[string]json.RawMessage, error) {
	at := skipSpace(raw, 0)
	if raw[at] != '{' {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	object := make(map[string]json.RawMessage)
	for at = skipSpace(raw, at+1); raw[at] != '}'; {
		end := endOfString(raw, at)
		name, err := unquote(raw[at:end])
		if err != nil {
			return nil, err
		}
		at = skipSpace(raw, skipSpace(raw, end)+len(":"))
		end = endOfValue(raw, at)
		if err := ambiguous(object, name, watched); err != nil {
			return nil, err
		}
		object[name] = raw[at:end]
		if at = skipSpace(raw, end); raw[at] == ',' {
			at = skipSpace(raw, at+1)
		}
	}
	return object, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func skipSpace(raw []byte, at int) int {
	for isSpace(raw[at]) {
		at++
	}
	return at
}

// endOfString returns the index after the string that begins at an index.
func endOfString(raw []byte, at int) int {
	for at++; raw[at] != '"'; at++ {
		if raw[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// endOfValue returns the index after the value that begins at an index of an object.
func endOfValue(raw []byte, at int) int {
	for depth := 0; ; at++ {
		switch c := raw[at]; {
		case c == '"':
			at = endOfString(raw, at) - 1
		case c == '{' || c == '[':
			depth++
			continue
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0: // a number, true, false or null
			for next := raw[at+1]; next != ',' && next != '}' && !isSpace(next); next = raw[at+1] {
				at++
			}
		}
		if depth == 0 {
			return at + 1
		}
	}
}

// unquote decodes a string of valid JSON.
func unquote(quoted []byte) (string, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), nil
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return text, nil
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
	if raw[0] != '"' {
		return fmt.Errorf("%w: %q is not a string", ErrMalformed, name)
	}
	text, err := unquote(raw)
	*into = text
	return err
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
