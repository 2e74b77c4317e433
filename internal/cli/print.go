package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
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

// printer prints text for people. It keeps control characters in untrusted text from the terminal.
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

// FormatBytes formats a size.
func FormatBytes(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}
