package paywall

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
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
		Use:   "list [--search <text>] [--pass <name>] [--site <origin>] [--status <status>] [--from <time>] [--to <time>] [--limit <n>]",
		Short: "Lists purchases, the newest payment first",
		Long: `
Lists purchases and access that was given, the newest payment first. --search finds the beginning of a
reference, a session id or a payment id. Times are those of the last payment: days (2026-01-31), months
(2026-01) or RFC 3339, in UTC; --to is not included. Statuses: active, expired, refunded, disputed, revoked
and mismatched, which lists all payments in another amount or currency than asked. With --json it prints one
JSON object a line.`,
		Args: cobra.NoArgs,
		RunE: runList,
	}
	flags := cmd.Flags()
	flags.String("search", "", "Only what this reference, session id or payment id means")
	flags.String("pass", "", "Only of this pass")
	flags.String("site", "", "Only of this site, such as https://example.com")
	flags.String("status", "", "Only of this status")
	flags.String("from", "", "Only paid at this time or later")
	flags.String("to", "", "Only paid before this time")
	flags.Int("limit", 50, "At most so many; 0 for all")
	return cmd
}

func runList(cmd *cobra.Command, _ []string) error {
	var asked listRequest
	flags := cmd.Flags()
	for name, into := range map[string]*string{"search": &asked.Search, "pass": &asked.Pass, "site": &asked.Site, "from": &asked.From, "to": &asked.To} {
		*into, _ = flags.GetString(name)
	}
	status, _ := flags.GetString("status")
	asked.Status = ledger.Status(status)
	asked.Limit, _ = flags.GetInt("limit")
	encoded, err := json.Marshal(asked) //nolint:gosec // a pass is no password
	if err != nil {
		return err
	}
	response, err := callAdmin(cmd, http.MethodPost, adminBase+"purchases", bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var printer listPrinter = &tablePrinter{cmd: cmd}
	if wantsJSON(cmd) {
		printer = jsonPrinter{cmd.OutOrStdout()}
	}
	more, err := readList(response.Body, printer.print)
	if err == nil {
		err = printer.end()
	}
	if more {
		fmt.Fprintln(cmd.ErrOrStderr(), "there are more: add --limit 0, or --from and --to")
	}
	return err
}

// errCutOff: the answer has no last line, or no checksum.
var errCutOff = errors.New("the answer was cut off: see Caddy's log")

// readList calls show with each line of a list but the last.
func readList(body io.Reader, show func(line []byte) error) (more bool, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var end listEnd
		if err := json.Unmarshal(lines.Bytes(), &end); err != nil {
			return false, fmt.Errorf("reading the answer: %w", err)
		}
		switch {
		case end.Error != "":
			return false, errors.New(clean(end.Error))
		case end.End:
			return end.More, nil
		}
		if err := show(lines.Bytes()); err != nil {
			return false, err
		}
	}
	return false, cmp.Or(lines.Err(), errCutOff)
}

// listPrinter prints the lines of a list.
type listPrinter interface {
	print(line []byte) error
	end() error
}

// jsonPrinter prints lines as they come.
type jsonPrinter struct{ out io.Writer }

func (p jsonPrinter) print(line []byte) error {
	_, err := p.out.Write(append(slices.Clip(line), '\n'))
	return err
}

func (jsonPrinter) end() error { return nil }

// tablePrinter prints a table, a page at a time, so that a long list appears while it is read.
type tablePrinter struct {
	cmd  *cobra.Command
	page []listedInfo
	any  bool
}

// tablePage is the number of rows whose columns are aligned.
const tablePage = 1000

func (p *tablePrinter) print(line []byte) error {
	var listed listedInfo
	if err := json.Unmarshal(line, &listed); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	p.page = append(p.page, listed)
	if len(p.page) == tablePage {
		return p.flush()
	}
	return nil
}

func (p *tablePrinter) flush() error {
	out := table(p.cmd)
	if !p.any {
		fmt.Fprintln(out, "PAID AT (UTC)\tSTATUS\tENDS (UTC)\tPRICE\tPASS\tRESOURCE\tREFERENCE\tPAYMENT")
	}
	for _, l := range p.page {
		price := l.LastPayment.price()
		if l.Payments > 1 {
			price += fmt.Sprintf(" (%d payments)", l.Payments)
		}
		cells := []string{
			inUTC(&l.LastPayment.PaidAt), string(l.Status), l.ends(), price, l.Pass, l.Resource, reference(l.ID), strings.Join(l.LastPayment.PaymentIDs, " "),
		}
		for i := range cells {
			cells[i] = clean(cells[i])
		}
		fmt.Fprintln(out, strings.Join(cells, "\t"))
	}
	p.any, p.page = true, p.page[:0]
	return out.Flush()
}

func (p *tablePrinter) end() error {
	if len(p.page) > 0 {
		return p.flush()
	}
	if !p.any {
		fmt.Fprintln(p.cmd.OutOrStdout(), "nothing found")
	}
	return nil
}

// price is what was paid, in words for people.
func (p paymentInfo) price() string {
	paid := p.Amount.String() + " " + strings.ToUpper(p.Currency)
	switch {
	case p.Source == ledger.FromCoupon:
		return "by coupon"
	case p.Source != ledger.FromAxra:
		return "given"
	case p.Currency == "":
		paid = "no amount that can be read"
	}
	if p.Asked != nil {
		return paid + ", asked " + p.Asked.Amount.String() + " " + strings.ToUpper(p.Asked.Currency)
	}
	if p.Mismatch {
		return paid + ", not as asked"
	}
	return paid
}

// ends is when access ends or has ended; what is closed for another reason has no end.
func (p purchaseInfo) ends() string {
	if p.Status == ledger.Active || p.Status == ledger.Expired {
		return inUTC(p.EndsAt)
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
		return "no expiry"
	}
	return at.UTC().Format("2006-01-02 15:04")
}

// namesPurchase says how purchases are named, in the help of commands.
const namesPurchase = "The purchase is named by its reference, or by the id of a session or a payment."

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show <purchase>",
		Short: "Shows all that is known about one purchase",
		Long: "Shows payments, refunds, disputes, decisions, devices and downloads of one purchase. " + namesPurchase + `
Session ids are shown here only: whoever has one may be able to open the purchase.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var details purchaseDetails
			if err := postAdmin(cmd, "purchase", map[string]string{"id": args[0]}, &details); err != nil {
				return err
			}
			return printDetails(cmd, details)
		},
	}
}

func printDetails(cmd *cobra.Command, details purchaseDetails) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, details)
	}
	out := table(cmd)
	row := func(name string, values ...string) {
		values = slices.DeleteFunc(values, func(value string) bool { return value == "" })
		if len(values) > 0 {
			fmt.Fprintf(out, "%s\t%s\n", clean(name), clean(strings.Join(values, "  ")))
		}
	}
	row("reference", details.Reference)
	row("id", details.ID)
	row("status", string(details.Status))
	row("ends (UTC)", details.ends())
	row("site", details.Site)
	row("pass", details.Pass)
	row("opens", details.Resource)
	for _, payment := range details.Payments {
		name := "paid"
		if payment.Source != ledger.FromAxra {
			name = "given"
		}
		row(name, inUTC(&payment.PaidAt)+" UTC", payment.price(), strings.Join(payment.PaymentIDs, " "), payment.Note)
		row("", "session "+payment.Session)
	}
	for _, id := range details.DoubleCharges {
		row("charged twice", id, "refund it in Axra")
	}
	for _, event := range details.history() {
		row(event.Kind, inUTC(&event.At)+" UTC", strings.Join(event.PaymentIDs, " "), event.Note)
	}
	printUse(row, details)
	return out.Flush()
}

// history is all that happened to a purchase, the earliest first.
func (d purchaseDetails) history() []eventInfo {
	all := slices.Concat(d.Events, d.Decisions)
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	return all
}

// printUse says how much of what was bought is in use.
func printUse(row func(name string, values ...string), details purchaseDetails) {
	inUse := 0
	for _, device := range details.Devices {
		if device.RemovedAt == nil {
			inUse++
		}
	}
	row("devices", strconv.Itoa(inUse)+limitOf(details.DeviceLimit))
	for _, device := range details.Devices {
		removed := ""
		if device.RemovedAt != nil {
			removed = "removed " + inUTC(device.RemovedAt) + " UTC"
		}
		row("device", device.ID, "added "+inUTC(&device.AddedAt)+" UTC", removed, device.Label)
	}
	for _, kind := range slices.Sorted(maps.Keys(details.Claims)) {
		row(kind+" taken by", details.Claims[kind])
	}
	if details.Downloads > 0 || details.DownloadLimit > 0 {
		row("downloads", strconv.Itoa(details.Downloads)+limitOf(details.DownloadLimit))
	}
	if details.DownloadsUntil != nil {
		row("", "the last window ends "+inUTC(details.DownloadsUntil)+" UTC")
	}
}

func limitOf(limit int) string {
	if limit == 0 {
		return ", not limited"
	}
	return " of " + strconv.Itoa(limit)
}

func revokeCommand() *cobra.Command {
	return decideCommand("revoke", "Withdraws the access of a purchase",
		"Withdraws the access of a purchase, with all that extends it, on every node within about a second. "+namesPurchase+
			"\nNo money is sent back: do that at Axra, which closes the purchase by itself.")
}

func restoreCommand() *cobra.Command {
	return decideCommand("restore", "Gives back what was revoked",
		"Gives back the access that was revoked. "+namesPurchase+"\nIt undoes no refund and no dispute: for those, give access anew.")
}

func decideCommand(name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " <purchase> [--note <why>]",
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
		fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", clean(reference(info.ID)), info.Status)
		return nil
	}
	return cmd
}

func removeDeviceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove-device <purchase> <device>",
		Short: "Ends the use of a purchase on one device",
		Long: "Ends the use of a purchase on one device, on every node within about a second, and makes room for another.\n" +
			"caddy axra show lists the devices with their ids. " + namesPurchase,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var details purchaseDetails
			if err := postAdmin(cmd, "device/remove", map[string]string{"id": args[0], "device": args[1]}, &details); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd, details)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "device %s was removed from %s\n", clean(args[1]), clean(reference(details.ID)))
			return nil
		},
	}
}

// postAdmin makes a call with a JSON body.
func postAdmin(cmd *cobra.Command, call string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return callAdminJSON(cmd, http.MethodPost, adminBase+call, bytes.NewReader(encoded), into)
}
