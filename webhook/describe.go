package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Field is a field of an event, and the paths where it was found, the one that counts first.
type Field struct {
	Name  string   `json:"field"`
	Found []string `json:"found"`
}

// fieldPaths lists where Decode looks for each field.
var fieldPaths = []Field{
	{"timestamp", []string{"timestamp"}},
	{"amount", []string{"data.amount"}},
	{"currency", []string{"data.currency"}},
	{"payment id", []string{"data.paymentId", "data.id", "data.transactionId", "data.businessPaymentId"}},
	{"session id", []string{"data.metadata.sessionId", "data.sessionId"}},
	{"metadata", []string{"data.metadata"}},
}

// Bounds of the lists.
const (
	maxOthers    = 60
	maxDepth     = 4
	maxFieldName = 64
)

// Describe says which fields of an event were found, by name only, and lists the paths that Decode does not read.
func Describe(body []byte) (fields []Field, others []string) {
	found := make(map[string]bool)
	addPaths(found, body, "", 0)
	for _, field := range fieldPaths {
		field.Found = slices.DeleteFunc(slices.Clone(field.Found), func(path string) bool { return !found[path] })
		fields = append(fields, field)
		for _, path := range field.Found {
			delete(found, path)
		}
	}
	others = slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(path string) bool {
		return path == "event" || path == "data" || strings.HasPrefix(path, "data.metadata.")
	})
	return fields, others[:min(len(others), maxOthers)]
}

// addPaths adds the paths of an object's fields that are not null.
func addPaths(paths map[string]bool, raw json.RawMessage, prefix string, depth int) {
	var object map[string]json.RawMessage
	if depth > maxDepth || json.Unmarshal(raw, &object) != nil {
		return
	}
	for name, value := range object {
		path := prefix + name
		switch {
		case string(value) == "null", len(name) > maxFieldName:
			continue
		case path == "data.metadata" && value[0] != '{':
			path += " (not an object)" // Decode ignores it
		}
		paths[path] = true
		addPaths(paths, value, path+".", depth+1)
	}
}
