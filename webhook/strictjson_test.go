package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"unicode/utf8"
)

// tokens reads an object as encoding/json's own decoder does, one token after the other.
func tokens(raw []byte) (names []string, values []json.RawMessage, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, nil, false
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, nil, false
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return nil, nil, false
		}
		name, _ := token.(string)
		names, values = append(names, name), append(values, value)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, nil, false
	}
	_, err := decoder.Token()
	return names, values, err == io.EOF
}

// FuzzReadObject: an object is taken apart as encoding/json takes it apart.
func FuzzReadObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[{"c":"}"},"\"]"],"":null } `, `{"a":-1.5e3}`, `{"a":{"b":[]},"a":2}`, `{"\u0061":"\\"}`,
		`{"a":"\ud800"}`, `{"a":1}{}`, `{"a":1,}`, `{"a" "b"}`, `[{"a":1}]`, `"{"`, `{"a":tru}`, `{"a":true,"b":false}`, ``, `{`, "{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, values, ok := tokens(raw)
		object, err := readObject(raw)
		if ok = ok && utf8.Valid(raw); ok != (err == nil) {
			t.Fatalf("encoding/json reads it: %t, readObject: %v", ok, err)
		}
		if !ok {
			return
		}
		last := make(map[string]json.RawMessage)
		for i, name := range names {
			last[name] = values[i]
		}
		if len(last) != len(object) {
			t.Fatalf("got %d members, want %d", len(object), len(last))
		}
		for name, value := range last {
			if !bytes.Equal(object[name], value) {
				t.Errorf("%q is %s, want %s", name, object[name], value)
			}
		}
	})
}
