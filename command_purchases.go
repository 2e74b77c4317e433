package paywall

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/ledger"
)

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [--pass <name>] [--site <origin>] [--from <time>] [--to <time>] [--state <state>] [--limit <n>]",
		Short: "Lists payments, and access that was given, the newest first",
		Long: `
Lists payments, and access that was given, the newest first. Times are days (2026-01-31), months
(2026-01) or RFC 3339, in UTC; --to is not included. States: open, ended, refunded, disputed,
dispute_lost, revoked. With --unfitting it lists payments in another amount or currency than asked,
which have opened nothing. With --json it prints one JSON object a line.`,
		Args: cobra.NoArgs,
		RunE: runList,
	}
	flags := cmd.Flags()
	flags.String("pass", "", "Only of this pass")
	flags.String("site", "", "Only of this site, such as https://example.com")
	flags.String("from", "", "Only of this time or later")
	flags.String("to", "", "Only of before this time")
	flags.String("state", "", "Only in this state")
	flags.Bool("unfitting", false, "Payments in another amount or currency than asked")
	flags.Int("limit", 100, "At most so many; 0 for all")
	cmd.MarkFlagsMutuallyExclusive("state", "unfitting")
	return cmd
}

// states are those that a payment, or what was given, can be in.
var states = []string{
	"open", "ended", string(ledger.Refunded), string(ledger.Disputed), string(ledger.DisputeLost), string(ledger.Revoked),
}

func runList(cmd *cobra.Command, _ []string) error {
	state, _ := cmd.Flags().GetString("state")
	if state != "" && !slices.Contains(states, state) {
		return fmt.Errorf("%q is no state: write one of %s, or --unfitting for payments in another amount than asked", state, strings.Join(states, ", "))
	}
	query := make(url.Values)
	for _, name := range []string{"pass", "site", "from", "to"} {
		if value, _ := cmd.Flags().GetString(name); value != "" {
			query.Set(name, value)
		}
	}
	if unfitting, _ := cmd.Flags().GetBool("unfitting"); unfitting {
		query.Set("unfitting", "1")
	}
	response, err := callAdmin(cmd, http.MethodGet, adminBase+"purchases?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	limit, _ := cmd.Flags().GetInt("limit")
	found, unreadable, err := readPurchases(response.Body, state)
	if err != nil {
		return err
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		return cmp.Or(b.PaidAt.Compare(a.PaidAt), strings.Compare(a.Session, b.Session)) < 0
	})
	warnUnreadable(cmd, unreadable)
	total := len(found)
	if limit > 0 && total > limit {
		found = found[:limit]
	}
	if wantsJSON(cmd) {
		for _, purchase := range found {
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(purchase); err != nil { //nolint:gosec // a pass is no password
				return err
			}
		}
		return nil
	}
	printPurchases(cmd, found)
	if total > len(found) {
		fmt.Fprintf(cmd.OutOrStdout(), "%d more: add --limit 0, or --from and --to\n", total-len(found))
	}
	return nil
}

// errCutOff: the answer has no last line.
var errCutOff = errors.New("the answer was cut off: see Caddy's log")

func readPurchases(body io.Reader, state string) (found []purchaseInfo, unreadable int, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			purchaseInfo

			End        bool   `json:"end"`
			Unreadable int    `json:"unreadable"`
			Error      string `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, 0, fmt.Errorf("reading the answer: %w", err)
		}
		switch {
		case line.Error != "":
			return nil, 0, errors.New(line.Error)
		case line.End:
			return found, line.Unreadable, nil
		case state == "" || state == line.State:
			found = append(found, line.purchaseInfo)
		}
	}
	return nil, 0, cmp.Or(lines.Err(), errCutOff)
}

func printPurchases(cmd *cobra.Command, purchases []purchaseInfo) {
	if len(purchases) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing found")
		return
	}
	out := table(cmd)
	fmt.Fprintln(out, "PAID AT (UTC)\tSTATE\tUNTIL (UTC)\tPRICE\tPASS\tRESOURCE\tSESSION\tPAYMENT")
	for _, p := range purchases {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", inUTC(&p.PaidAt), clean(p.State), p.until(), clean(p.price()), clean(p.Pass), clean(p.Resource), clean(p.Session), clean(p.Payment))
	}
	_ = out.Flush()
}

func (p purchaseInfo) price() string {
	if p.Given {
		return "given"
	}
	if p.State != string(ledger.Mismatch) {
		return p.Amount.String() + " " + strings.ToUpper(p.Currency)
	}
	came := "no amount that can be read"
	if p.Currency != "" {
		came = p.Amount.String() + " " + strings.ToUpper(p.Currency)
	}
	return "asked " + p.Asked.String() + " " + strings.ToUpper(p.AskedCurrency) + ", came " + came
}

// until is when access ends or has ended; what is closed for another reason has none.
func (p purchaseInfo) until() string {
	if p.State == "open" || p.State == "ended" {
		return inUTC(p.Until)
	}
	return ""
}

// clean takes out of a text from elsewhere what could play tricks with a terminal.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		if !strconv.IsPrint(c) {
			return '?'
		}
		return c
	}, text)
}

func inUTC(at *time.Time) string {
	if at == nil {
		return "forever"
	}
	return at.UTC().Format("2006-01-02 15:04")
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show <session or payment>",
		Short: "Shows all that is known about one purchase",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var info dossierInfo
			if err := postAdmin(cmd, "purchase", map[string]string{"id": args[0]}, &info); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, info)
			}
			printDossier(cmd, info)
			return nil
		},
	}
}

func printDossier(cmd *cobra.Command, info dossierInfo) {
	out := table(cmd)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s\t%s\n", name, clean(value))
		}
	}
	row("state", info.State)
	if until := info.until(); until != "" {
		row("until (UTC)", until)
	}
	row("site", info.Site)
	row("pass", info.Pass)
	row("opens", info.Resource)
	row("session", info.Session)
	for _, payment := range info.Payments {
		row("paid", inUTC(&payment.PaidAt)+" UTC  "+payment.price()+"  "+payment.Session+"  "+payment.Payment)
	}
	row("note", info.Note)
	for _, event := range info.history() {
		row(event.What, strings.TrimSpace(inUTC(&event.At)+" UTC  "+event.Note))
	}
	if info.State == string(ledger.Mismatch) {
		row("opens nothing", info.price())
	} else {
		printUse(row, info)
	}
	_ = out.Flush()
}

// history is all that became of a purchase, the earliest first.
func (d dossierInfo) history() []eventInfo {
	all := slices.Concat(d.Events, d.Decisions)
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	return all
}

// printUse says how much of what was bought is in use.
func printUse(row func(name, value string), info dossierInfo) {
	payer := 1
	if info.Given {
		payer = 0
	}
	row("devices", fmt.Sprintf("%d of %d", len(info.Devices)+payer, info.DevicesLimit))
	if info.FetchesLimit > 0 {
		row("downloads", fmt.Sprintf("%d of %d", info.Fetches, info.FetchesLimit))
	}
	row("claimed by", info.Claimed)
}

func revokeCommand() *cobra.Command {
	return decideCommand("revoke", "Withdraws the access of a purchase",
		"Withdraws the access of a purchase, with all that extends it, on every node within `recheck`.\nNo money is sent back: do that at Axra, which closes the purchase by itself.")
}

func restoreCommand() *cobra.Command {
	return decideCommand("restore", "Gives back what was revoked",
		"Gives back the access that was revoked. It undoes no refund and no dispute: for those, give access anew.")
}

func decideCommand(name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " <session or payment> [--note <why>]",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().String("note", "", "Why, for who looks it up later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		note, _ := cmd.Flags().GetString("note")
		var info purchaseInfo
		if err := postAdmin(cmd, name, map[string]string{"id": args[0], "note": note}, &info); err != nil {
			return err
		}
		if wantsJSON(cmd) {
			return printJSON(cmd, info)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", clean(info.Session), info.State)
		return nil
	}
	return cmd
}

// postAdmin makes a call with a JSON body.
func postAdmin(cmd *cobra.Command, call string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return callAdminJSON(cmd, http.MethodPost, adminBase+call, bytes.NewReader(encoded), into)
}

func giveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "give <address> [--pass <name>] [--for <time>] [--devices <n>] [--key <key>] [--like <session>] [--note <why>]",
		Short: "Gives access without a payment, and prints the link to it",
		Long: `
Gives access to a site's pass, for reviewers, prizes and support, and prints a link that opens it at
the address, in as many browsers as --devices says. The link works for 7 days; the access as long as
the pass does, or as --for says. With --like it gives what another purchase has opened, for as long as that
one has left: for who has lost all devices.`,
		Example: "  caddy axra give https://example.com/premium/ --for 30d --note \"review copy\"",
		Args:    cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.String("pass", "", "Name of the pass, if the site sells several")
	flags.String("for", "", "How long access lasts: 30d, 12h, forever (default as it is sold)")
	flags.Int("devices", 1, "In how many browsers it may be opened")
	flags.String("key", "", "Which one, of what is sold by a key")
	flags.String("like", "", "Session or payment whose terms are given")
	flags.String("note", "", "Why, for who looks it up later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := giveRequest{URL: args[0]}
		for name, into := range map[string]*string{"pass": &asked.Pass, "for": &asked.For, "key": &asked.Key, "like": &asked.Like, "note": &asked.Note} {
			*into, _ = cmd.Flags().GetString(name)
		}
		devices, _ := cmd.Flags().GetInt("devices")
		asked.Devices = &devices
		return printLink(cmd, "give", asked)
	}
	return cmd
}

func linkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "link <session or payment> [<address>] [--for <time>] [--direct]",
		Short: "Makes a link by which a purchase is opened or downloaded elsewhere",
		Long: `
Makes a link that opens a purchase at an address of its site, in one more browser; the page there asks
first. Without an address it is the path that was bought. With --direct the link opens that one address by
itself, for whoever has it, as often as the purchase allows: for download managers and podcast players. The
gate must have links on.`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().String("for", "", "How long the link works (default 7d)")
	cmd.Flags().Bool("direct", false, "Without a click and a cookie")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := linkRequest{ID: args[0]}
		if len(args) > 1 {
			asked.URL = args[1]
		}
		asked.For, _ = cmd.Flags().GetString("for")
		asked.Direct, _ = cmd.Flags().GetBool("direct")
		return printLink(cmd, "link", asked)
	}
	return cmd
}

func printLink(cmd *cobra.Command, call string, asked any) error {
	var got opened
	if err := postAdmin(cmd, call, asked, &got); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd, got)
	}
	fmt.Fprintln(cmd.OutOrStdout(), got.Link)
	fmt.Fprintf(cmd.ErrOrStderr(), "opens %s; the link works until %s UTC. Whoever has it can use it.\n", clean(got.Session), inUTC(got.Expires))
	return nil
}

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
		var report ledger.Report
		if err := callAdminJSON(cmd, http.MethodGet, adminBase+"report?"+query.Encode(), nil, &report); err != nil {
			return err
		}
		warnUnreadable(cmd, report.Unreadable)
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

func reportRow(line ledger.Line) []string {
	row := []string{line.Site, line.Pass, strings.ToUpper(line.Currency)}
	for _, sum := range []ledger.Sum{line.Sales, line.Refunds, line.Disputes, line.DisputesLost} {
		row = append(row, strconv.Itoa(sum.Count), line.Digits(sum.Amount))
	}
	return append(row, line.Digits(line.Net))
}

func printCSV(cmd *cobra.Command, report ledger.Report) error {
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

func printReport(cmd *cobra.Command, report ledger.Report) {
	if len(report.Lines) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "no sales in this time")
	} else {
		printLines(cmd, report)
	}
	besides := "payments"
	if report.Unfitting == 1 {
		besides = "payment"
	}
	if report.Unfitting > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "Besides: %d %s in another amount or currency than asked; see caddy axra list --unfitting\n", report.Unfitting, besides)
	}
}

func printLines(cmd *cobra.Command, report ledger.Report) {
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
