package cli

import (
	"encoding/csv"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

func reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report [--from <time>] [--to <time>] [--csv]",
		Short: "Adds up sales, refunds and disputes by pass and currency",
		Long: `
Adds up sales, refunds and disputes by site, pass and currency, each at its own time: a refund counts when
it was made. Net is sales less refunds and less disputes lost: what is in an open dispute is in it until that is
decided. Times are days (2026-01-31), months (2026-01) or RFC 3339, in UTC; --to is not included. Axra's events do
not say how much was refunded, so a refund counts as the whole payment.`,
		Example: "  caddy axra report --from 2026-01 --to 2026-02 --csv",
		Args:    cobra.NoArgs,
	}
	var request admin.ReportRequest
	cmd.Flags().StringVar(&request.From, "from", "", "From this time on (default: the beginning)")
	cmd.Flags().StringVar(&request.To, "to", "", "Before this time (default: now)")
	asCSV := cmd.Flags().Bool("csv", false, "Comma-separated values")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asCSV && wantsJSON(cmd) {
			return errors.New("--csv and --json exclude each other: leave one out")
		}
		show := printReport
		if *asCSV {
			show = printCSV
		}
		return runLong(cmd, "adding up", admin.GetReport, request, show)
	}
	return cmd
}

// reportRows has the head of the table first.
func reportRows(report admin.Report) [][]string {
	rows := [][]string{{
		"site", "pass", "currency", "sales", "sales amount", "refunds", "refunds amount",
		"disputes", "disputes amount", "disputes lost", "disputes lost amount", "net",
	}}
	for _, line := range report.Lines {
		row := []string{line.Site, line.Pass, strings.ToUpper(line.Currency)}
		for _, sum := range []admin.Sum{line.Sales, line.Refunds, line.Disputes, line.DisputesLost} {
			row = append(row, strconv.Itoa(sum.Count), sum.Amount.String())
		}
		rows = append(rows, append(row, line.Net.String()))
	}
	return rows
}

func printCSV(p printer, report admin.Report) {
	rows := reportRows(report)
	for _, row := range rows {
		row[0], row[1] = notFormula(row[0]), notFormula(row[1])
	}
	_ = csv.NewWriter(p.out).WriteAll(rows) // the reader is gone
}

// notFormula keeps a spreadsheet from calculating what begins like a formula.
func notFormula(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@") {
		return "'" + text
	}
	return text
}

func printReport(p printer, report admin.Report) {
	if len(report.Lines) == 0 {
		p.line("no sales in this time")
	} else {
		rows := reportRows(report)
		for i, name := range rows[0] {
			rows[0][i] = strings.ToUpper(name)
		}
		p.table(rows)
	}
	if n := report.Mismatched; n > 0 {
		p.line("Not included: %s in another amount or currency than asked: see caddy axra list --status mismatched", plural(n, "payment"))
	}
	if n := report.DoubleCharges; n > 0 {
		p.line("Not included: %s, which you should refund: the log and caddy axra show name them", plural(n, "double charge"))
	}
}
