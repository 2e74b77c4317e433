package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func wantsJSON(cmd *cobra.Command) bool {
	asked, _ := cmd.Flags().GetBool("json")
	return asked
}

func printJSON(cmd *cobra.Command, value any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printAnswer prints JSON for programs, or else what show prints.
func printAnswer[Answer any](cmd *cobra.Command, answer Answer, show func(printer, Answer)) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, answer)
	}
	show(printerOf(cmd), answer)
	return nil
}

// printer prints text for people. Control characters of strangers do not reach the terminal.
type printer struct{ out, aside io.Writer }

func printerOf(cmd *cobra.Command) printer { return printer{cmd.OutOrStdout(), cmd.ErrOrStderr()} }

// line prints one line.
func (p printer) line(format string, args ...any) {
	fmt.Fprintln(p.out, clean(fmt.Sprintf(format, args...)))
}

// note prints one line to the standard error.
func (p printer) note(format string, args ...any) {
	fmt.Fprintln(p.aside, clean(fmt.Sprintf(format, args...)))
}

// table prints rows with aligned columns.
func (p printer) table(rows [][]string) {
	table := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	_ = table.Flush() // the terminal is gone
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

// inUTC formats a time; nil is the end of access that does not end.
func inUTC(at *time.Time) string {
	if at == nil {
		return "no expiry"
	}
	return at.UTC().Format("2006-01-02 15:04")
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// FormatBytes formats a size.
func FormatBytes(n int64) string {
	switch {
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+999)/1000)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	}
}

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	if !isFile {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
