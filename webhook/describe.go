package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Field is one that the plugin reads, and where it was found.
type Field struct {
	Name string `json:"field"`
	// Found are the paths, that which counts first; none where it is missing.
	Found []string `json:"found"`
}

// Description says which of an event's fields were found, by name only: the field
// names are not confirmed by Axra's documentation.
type Description struct {
	Event      Type    `json:"event"`
	Documented bool    `json:"documented"`
	Session    string  `json:"session,omitempty"`
	Payment    string  `json:"payment,omitempty"`
	Fields     []Field `json:"fields"`
	// Others are fields that the plugin does not read.
	Others []string `json:"other_fields"`
}

// sources are where the fields are looked for, the paths that count most first.
var sources = []struct {
	field string
	paths []string
}{
	{"timestamp", []string{"timestamp"}},
	{"amount", []string{"data.amount"}},
	{"currency", []string{"data.currency"}},
	{"payment id", []string{"data.paymentId", "data.id", "data.transactionId"}},
	{"session id", []string{"data.metadata.sessionId", "data.sessionId"}},
	{"metadata", []string{"data.metadata"}},
}

// Bounds of what is listed.
const (
	maxOthers    = 60
	maxDepth     = 4
	maxFieldName = 64
)

// Describe says what an event holds. The error wraps ErrMalformed and is Decode's:
// a gate would refuse the event.
func Describe(body []byte) (Description, error) {
	event, err := Decode(body)
	if err != nil {
		return Description{}, err
	}
	described := Description{
		Event: event.Type, Documented: event.Type.Known(), Session: event.Session, Payment: event.Payment, Others: []string{},
	}
	found := make(map[string]bool)
	list(body, "", 0, found)
	for _, source := range sources {
		field := Field{Name: source.field, Found: []string{}}
		for _, path := range source.paths {
			if found[path] {
				field.Found = append(field.Found, path)
			}
			delete(found, path)
		}
		described.Fields = append(described.Fields, field)
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		isRead := path == "event" || path == "data" || strings.HasPrefix(path, "data.metadata.")
		if !isRead && len(described.Others) < maxOthers {
			described.Others = append(described.Others, path)
		}
	}
	return described, nil
}

// list collects the paths of an object's fields that hold something.
func list(raw json.RawMessage, prefix string, depth int, into map[string]bool) {
	var object map[string]json.RawMessage
	if depth > maxDepth || len(raw) == 0 || json.Unmarshal(raw, &object) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		switch {
		case string(value) == "null" || len(name) > maxFieldName || len(into) > 10*maxOthers:
			continue
		case prefix+name == "data.metadata" && value[0] != '{':
			name += " (not an object)" // and so counts as none
		}
		into[prefix+name] = true
		list(value, prefix+name+".", depth+1, into)
	}
}
