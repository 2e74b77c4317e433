package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// printValue prints a struct as `name: value`, with the lists in it as tables, or a list of structs as a table. Names are
// those of JSON. With --csv, tables go to the standard output, all else aside.
func printValue(cmd *cobra.Command, answer any) {
	out, value := cmd.OutOrStdout(), reflect.ValueOf(answer)
	text, table := out, printTable
	if isSet(cmd, "csv") {
		text, table = cmd.ErrOrStderr(), printCSV
	}
	if value.Kind() == reflect.Slice {
		table(out, "", rowsOf(value))
		return
	}
	names, texts, values := fieldsOf(value)
	for _, lists := range []bool{false, true} {
		for i, v := range values {
			switch isList := v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct; {
			case isList != lists:
			case isList && v.Len() > 0:
				table(out, names[i], rowsOf(v))
			case !isList && texts[i] != "":
				fmt.Fprintf(text, "%s: %s\n", names[i], texts[i])
			}
		}
	}
}

func printTable(out io.Writer, name string, rows [][]string) {
	if name != "" {
		fmt.Fprintf(out, "\n%s:\n", name)
	}
	if len(rows) == 0 {
		fmt.Fprintln(out, "none")
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
}

func printCSV(out io.Writer, _ string, rows [][]string) { _ = csv.NewWriter(out).WriteAll(rows) }

// rowsOf returns the rows of a list of structs, the heads first.
func rowsOf(list reflect.Value) (rows [][]string) {
	for i := range list.Len() {
		names, texts, _ := fieldsOf(list.Index(i))
		if i == 0 {
			rows = append(rows, names)
		}
		rows = append(rows, texts)
	}
	return rows
}

// fieldsOf returns the fields that JSON has, too. What JSON leaves out has no text.
func fieldsOf(value reflect.Value) (names, texts []string, values []reflect.Value) {
	for _, f := range reflect.VisibleFields(value.Type()) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		v, text := value.FieldByIndex(f.Index), ""
		if options == "" || !v.IsZero() {
			text = textOf(v.Interface())
		}
		names, texts, values = append(names, name), append(texts, text), append(values, v)
	}
	return names, texts, values
}

// textOf is a value in one line.
func textOf(value any) string {
	switch value := value.(type) {
	case time.Time:
		return value.Format(time.RFC3339)
	case []string:
		return clean(strings.Join(value, ", "))
	}
	return clean(fmt.Sprint(value))
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
