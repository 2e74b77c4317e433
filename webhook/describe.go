package webhook

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// fieldPaths lists where Decode looks for fields.
var fieldPaths = []string{
	"timestamp", "data.amount", "data.currency", "data.paymentId", "data.id", "data.transactionId", "data.businessPaymentId",
	"data.metadata.sessionId", "data.sessionId", "data.metadata",
}

// Bounds of the lists.
const (
	maxOthers    = 60
	maxDepth     = 4
	maxFieldName = 64
)

// Describe lists the paths of an event's fields, by name only: those that Decode reads, and the others.
func Describe(body []byte) (read, others []string) {
	found := make(map[string]bool)
	addPaths(found, body, "", 0)
	for _, path := range slices.Sorted(maps.Keys(found)) {
		switch {
		case slices.Contains(fieldPaths, path):
			read = append(read, path)
		case path != "event" && path != "data" && !strings.HasPrefix(path, "data.metadata.") && len(others) < maxOthers:
			others = append(others, path)
		}
	}
	return read, others
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
