package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-axra/paywall/internal/admin"
)

func wantsJSON(cmd *cobra.Command) bool { return isSet(cmd, "json") }

// printAnswer prints JSON for programs, or else what show prints.
func printAnswer[Answer any](cmd *cobra.Command, answer Answer, show func(printer, Answer)) error {
	if wantsJSON(cmd) {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(answer)
	}
	show(printerOf(cmd), answer)
	return nil
}

// printer prints text for people. Control characters of strangers do not reach the terminal.
type printer struct {
	out, aside io.Writer
	csv        bool // prints tables as CSV, and all else aside
}

func printerOf(cmd *cobra.Command) printer {
	return printer{cmd.OutOrStdout(), cmd.ErrOrStderr(), isSet(cmd, "csv")}
}

// line prints one line.
func (p printer) line(format string, args ...any) {
	if p.csv {
		p.out = p.aside
	}
	fmt.Fprintln(p.out, clean(fmt.Sprintf(format, args...)))
}

// note prints one line to the standard error.
func (p printer) note(format string, args ...any) {
	fmt.Fprintln(p.aside, clean(fmt.Sprintf(format, args...)))
}

// table prints rows with aligned columns, or as CSV. If that fails, the reader is gone.
func (p printer) table(rows [][]string) {
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			if p.csv {
				row[i] = notFormula(row[i])
			}
		}
	}
	if p.csv {
		_ = csv.NewWriter(p.out).WriteAll(rows)
		return
	}
	table := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
}

// notFormula keeps a spreadsheet from calculating what begins like a formula.
func notFormula(cell string) string {
	_, err := strconv.ParseFloat(cell, 64)
	if isNumber := err == nil; !isNumber && cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
		return "'" + cell
	}
	return cell
}

// clean replaces what could play tricks with a terminal.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		if !strconv.IsPrint(c) {
			return '?'
		}
		return c
	}, text)
}

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// printBody prints the answer of an operation: as JSON for programs, or as text.
func printBody(cmd *cobra.Command, o admin.Operation, body io.Reader) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	if o.Form != admin.Lines {
		encoder.SetIndent("", "  ")
	}
	var values []any
	for decoder := json.NewDecoder(body); ; {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && wantsJSON(cmd) {
			err = encoder.Encode(raw)
		}
		if err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		values = append(values, parse(raw))
	}
	switch p := printerOf(cmd); {
	case wantsJSON(cmd):
	case o.Form == admin.Lines:
		p.value(values, strings.Fields(o.Columns))
		if limit, _ := cmd.Flags().GetInt("limit"); limit > 0 && len(values) == limit {
			p.note("there may be more: add --limit 0 for all")
		}
	default:
		for _, value := range values {
			p.value(value, nil)
		}
	}
	return nil
}

// member is a member of a JSON object.
type member struct {
	name  string
	value any
}

// parse reads valid JSON. An object becomes a []member, which keeps the order.
func parse(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return readValue(decoder)
}

func readValue(from *json.Decoder) any {
	token, _ := from.Token() // the JSON is valid
	switch token {
	case json.Delim('{'):
		object := []member{}
		for from.More() {
			name, _ := from.Token()
			object = append(object, member{fmt.Sprint(name), readValue(from)})
		}
		_, _ = from.Token()
		return object
	case json.Delim('['):
		list := []any{}
		for from.More() {
			list = append(list, readValue(from))
		}
		_, _ = from.Token()
		return list
	}
	return token
}

// value prints a list of objects as a table. Of an object it prints `name: value`, then the tables in it.
func (p printer) value(value any, columns []string) {
	object, isObject := value.([]member)
	if rows := tableOf(value, columns); rows != nil {
		p.table(rows)
	} else if !isObject {
		p.line("%s", textOf(value))
	}
	var tables []member
	for _, m := range object {
		if tableOf(m.value, nil) != nil {
			tables = append(tables, m)
			continue
		}
		p.line("%s: %s", m.name, textOf(m.value))
	}
	for _, m := range tables {
		if !p.csv {
			p.line("")
			p.line("%s:", m.name)
		}
		p.value(m.value, nil)
	}
}

// tableOf returns the rows of a list of objects, the heads first; nil of anything else. Without columns it has all
// members.
func tableOf(value any, columns []string) [][]string {
	list, _ := value.([]any)
	if len(columns) == 0 {
		columns = namesIn(list)
	}
	if len(list) == 0 || len(columns) == 0 {
		return nil
	}
	rows := [][]string{columns}
	for _, each := range list {
		object, _ := each.([]member)
		row := make([]string, len(columns))
		for _, m := range object {
			if i := slices.Index(columns, m.name); i >= 0 {
				row[i] = textOf(m.value)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// namesIn are the names of all members of the objects in a list.
func namesIn(list []any) (names []string) {
	for _, each := range list {
		object, _ := each.([]member)
		for _, m := range object {
			if !slices.Contains(names, m.name) {
				names = append(names, m.name)
			}
		}
	}
	return names
}

// textOf is a value in one line.
func textOf(value any) string {
	var parts []string
	switch value := value.(type) {
	case nil:
	case []any:
		for _, each := range value {
			parts = append(parts, textOf(each))
		}
	case []member:
		for _, each := range value {
			parts = append(parts, each.name+" "+textOf(each.value))
		}
	default:
		return fmt.Sprint(value)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
