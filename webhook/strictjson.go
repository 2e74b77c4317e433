package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: not one JSON value", ErrMalformed)
	}
	return split(raw, watched...)
}

// split is readObject for bytes that are known to be one JSON value. It goes through them
// once, where a json.Decoder reads each value twice and allocates for each token.
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

// endOfString is behind the string that begins there.
func endOfString(raw []byte, at int) int {
	for at++; raw[at] != '"'; at++ {
		if raw[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// endOfValue is behind the value that begins there, within an object.
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
		case depth == 0: // of a number, or of true, false, null
			for next := raw[at+1]; next != ',' && next != '}' && !isSpace(next); next = raw[at+1] {
				at++
			}
		}
		if depth == 0 {
			return at + 1
		}
	}
}

// unquote is the text of a string of valid JSON.
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
	if raw[0] != '"' {
		return fmt.Errorf("%w: %q is not a string", ErrMalformed, name)
	}
	text, err := unquote(raw)
	*into = text
	return err
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
