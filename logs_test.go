package paywall_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// line is one line that the code may log.
type line struct {
	at      string
	level   string
	message string
	fields  []string
}

// loggedLines finds the calls that log at Info and above, in the root package.
func loggedLines(t *testing.T) []line {
	t.Helper()
	files, err := filepath.Glob("*.go")
	mustDo(t, err)
	set := gotoken.NewFileSet()
	var found []line
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		mustDo(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok {
				if logged, ok := loggedBy(call); ok && (name != "complaints.go" || logged.message != "") {
					logged.at = set.Position(call.Pos()).String()
					found = append(found, logged)
				}
			}
			return true
		})
	}
	return found
}

// loggedBy reads x.logger.Error("message", …) and x.complain(logger, "message", …).
func loggedBy(call *ast.CallExpr) (line, bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return line{}, false
	}
	level, args := strings.ToLower(method.Sel.Name), call.Args
	switch level {
	case "complain":
		if len(args) < 2 {
			return line{}, false // the meter's
		}
		level, args = "error", args[1:]
	case "info", "warn", "error", "dpanic", "panic", "fatal":
		receiver := ""
		switch x := method.X.(type) {
		case *ast.Ident:
			receiver = x.Name
		case *ast.SelectorExpr:
			receiver = x.Sel.Name
		}
		if receiver != "logger" || len(args) == 0 {
			return line{}, false
		}
	default:
		return line{}, false
	}
	logged := line{level: level, message: constant(args[0])}
	for _, arg := range args[1:] {
		field, ok := arg.(*ast.CallExpr)
		if !ok {
			continue
		}
		kind, ok := field.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case kind.Sel.Name == "Error":
			logged.fields = append(logged.fields, "error")
		case len(field.Args) > 0:
			logged.fields = append(logged.fields, constant(field.Args[0]))
		}
	}
	return logged, true
}

// constant is the text of string literals, "" for anything else.
func constant(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		if left, right := constant(e.X), constant(e.Y); left != "" && right != "" {
			return left + right
		}
	}
	return ""
}

// documentedLines reads the table of docs/operations.md: level, message, fields, meaning.
func documentedLines(t *testing.T) map[string]line {
	t.Helper()
	raw, err := os.ReadFile("docs/operations.md")
	mustDo(t, err)
	_, after, _ := strings.Cut(string(raw), "\n| level | line | fields | when |\n")
	table, _, _ := strings.Cut(after, "\n\n")
	found := make(map[string]line)
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), " | ")
		if len(cells) != 4 {
			continue
		}
		message := strings.TrimSpace(cells[1])
		found[message] = line{level: strings.TrimSpace(cells[0]), message: message, fields: words(cells[2])}
	}
	return found
}

// words are the names in back-quotes.
func words(cell string) []string {
	var found []string
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			found = append(found, part)
		}
	}
	return found
}

// title is a message up to the advice in it.
func title(message string) string {
	before, _, _ := strings.Cut(message, ": ")
	return before
}

// Every line that an owner may see is explained, with its fields, and nothing else is.
func TestEveryLogLineIsDocumented(t *testing.T) {
	documented := documentedLines(t)
	logged := loggedLines(t)
	if len(logged) < 20 {
		t.Fatalf("only %d lines were found in the code", len(logged))
	}
	seen := make(map[string][]string)
	for _, each := range logged {
		if each.message == "" {
			t.Errorf("%s logs a message that is no constant", each.at)
			continue
		}
		known, ok := documented[title(each.message)]
		if !ok {
			t.Errorf("%s: not in the table of docs/operations.md: | %s | %s | %v |", each.at, each.level, title(each.message), each.fields)
			continue
		}
		if known.level != each.level {
			t.Errorf("%s: level %s, in the table %s: %s", each.at, each.level, known.level, title(each.message))
		}
		for _, field := range each.fields {
			if !slices.Contains(known.fields, field) {
				t.Errorf("%s: the field %q is not in the table: %s", each.at, field, title(each.message))
			}
		}
		seen[known.message] = append(seen[known.message], each.fields...)
	}
	for message, known := range documented {
		if _, ok := seen[message]; !ok {
			t.Errorf("in the table, but not in the code: %s", message)
		}
		for _, field := range known.fields {
			if !slices.Contains(seen[message], field) {
				t.Errorf("in the table, but not in the code: the field %q of %s", field, message)
			}
		}
	}
}

// fieldNames are the names that a field may have: one thing has one name.
var fieldNames = []string{
	"session", "payment", "pass", "price", "paid", "event", "outcome", "device", "error", "path", "host", "hosts", "grace", "gate", "gates", "back_to",
	"events", "panic", "records", "unreadable", "known", "purchases", "kept", "conflicts", "kid", "replacement",
}

func TestOneThingHasOneNameInLogs(t *testing.T) {
	raw, err := os.ReadFile("docs/operations.md")
	mustDo(t, err)
	_, after, _ := strings.Cut(string(raw), "\n| field | meaning |\n")
	table, _, _ := strings.Cut(after, "\n\n")
	var explained []string
	for row := range strings.Lines(table) {
		names, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		explained = append(explained, words(names)...)
	}
	for _, name := range fieldNames {
		if !slices.Contains(explained, name) {
			t.Errorf("the field %q is not in the table of docs/operations.md", name)
		}
	}
	for _, each := range loggedLines(t) {
		for _, field := range each.fields {
			if !slices.Contains(fieldNames, field) {
				t.Errorf("%s: %q is no name of a field: take one of %v, or add it", each.at, field, fieldNames)
			}
		}
	}
}
