package paywall

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report [--from <time>] [--to <time>] [--csv]",
		Short: "Adds up sales, refunds and disputes by pass and currency",
		Long: `
Adds up sales, refunds and disputes by site, pass and currency, each at its own time: a refund counts when
it was made. Net is sales less refunds and less disputes lost: what is in an open dispute is in it until that is
decided. Times are days (2026-01-31), months (2026-01) or RFC 3339, in UTC; --to is not included. Axra's events do
not say how much was refunded: the whole payment is taken.`,
		Example: "  caddy axra report --from 2026-01 --to 2026-02 --csv",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().String("from", "", "From this time on (default: the beginning)")
	cmd.Flags().String("to", "", "Before this time (default: now)")
	cmd.Flags().Bool("csv", false, "Comma-separated values")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asCSV, _ := cmd.Flags().GetBool("csv")
		if asCSV && wantsJSON(cmd) {
			return errors.New("--csv and --json exclude each other: leave one out")
		}
		query := make(url.Values)
		for _, name := range []string{"from", "to"} {
			value, _ := cmd.Flags().GetString(name)
			query.Set(name, value)
		}
		var report reportInfo
		waiting := startProgress(cmd, "adding up")
		err := callAdminJSON(cmd, http.MethodGet, adminBase+"report?"+query.Encode(), nil, &report)
		waiting.end()
		if err != nil {
			return err
		}
		switch {
		case wantsJSON(cmd):
			return printJSON(cmd, report)
		case asCSV:
			return printCSV(cmd, report)
		}
		printReport(cmd, report)
		return nil
	}
	return cmd
}

var reportHead = []string{
	"site", "pass", "currency", "sales", "sales amount", "refunds", "refunds amount",
	"disputes", "disputes amount", "disputes lost", "disputes lost amount", "net",
}

func reportRow(line reportLine) []string {
	row := []string{line.Site, line.Pass, strings.ToUpper(line.Currency)}
	for _, sum := range []reportSum{line.Sales, line.Refunds, line.Disputes, line.DisputesLost} {
		row = append(row, strconv.Itoa(sum.Count), sum.Amount.String())
	}
	return append(row, line.Net.String())
}

func printCSV(cmd *cobra.Command, report reportInfo) error {
	out := csv.NewWriter(cmd.OutOrStdout())
	_ = out.Write(reportHead)
	for _, line := range report.Lines {
		row := reportRow(line)
		for i := range 2 {
			row[i] = notFormula(row[i])
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// notFormula keeps a spreadsheet from calculating what begins like a formula.
func notFormula(text string) string {
	if strings.HasPrefix(text, "=") || strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-") || strings.HasPrefix(text, "@") {
		return "'" + text
	}
	return text
}

func printReport(cmd *cobra.Command, report reportInfo) {
	if len(report.Lines) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "no sales in this time")
	} else {
		printLines(cmd, report)
	}
	out := cmd.OutOrStdout()
	if n := report.Mismatched; n > 0 {
		fmt.Fprintf(out, "Besides: %s in another amount or currency than asked: see caddy axra list --status mismatched\n", plural(n, "payment"))
	}
	if n := report.DoubleCharges; n > 0 {
		fmt.Fprintf(out, "Besides: %s, which you should refund: the log and caddy axra show name them\n", plural(n, "double charge"))
	}
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

func printLines(cmd *cobra.Command, report reportInfo) {
	out := table(cmd)
	fmt.Fprintln(out, strings.ToUpper(strings.Join(reportHead, "\t")))
	for _, line := range report.Lines {
		row := reportRow(line)
		for i := range row {
			row[i] = clean(row[i])
		}
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	_ = out.Flush()
}
