package cli

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
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
JSON object per line.`,
		Args: cobra.NoArgs,
	}
	var request admin.ListRequest
	flags := cmd.Flags()
	flags.StringVar(&request.Search, "search", "", "Only what this reference, session id or payment id means")
	flags.StringVar(&request.Pass, "pass", "", "Only this pass")
	flags.StringVar(&request.Site, "site", "", "Only this site, such as https://example.com")
	flags.StringVar((*string)(&request.Status), "status", "", "Only this status")
	flags.StringVar(&request.From, "from", "", "Only paid at this time or later")
	flags.StringVar(&request.To, "to", "", "Only paid before this time")
	flags.IntVar(&request.Limit, "limit", 50, "At most so many; 0 for all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return list(cmd, request) }
	return cmd
}

// tablePage is the number of rows whose columns are aligned, so that a long list appears while it is read.
const tablePage = 1000

func list(cmd *cobra.Command, request admin.ListRequest) error {
	response, err := call(cmd, admin.ListPurchases, request, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	p := printerOf(cmd)
	head := []string{"PAID AT (UTC)", "STATUS", "ENDS (UTC)", "PRICE", "PASS", "RESOURCE", "REFERENCE", "PAYMENT"}
	rows := [][]string{head}
	show := func(line []byte) error {
		var listed admin.Listed
		if err := json.Unmarshal(line, &listed); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if rows = append(rows, listRow(listed)); len(rows) > tablePage {
			p.table(rows)
			rows, head = nil, nil
		}
		return nil
	}
	if wantsJSON(cmd) {
		rows = nil
		show = func(line []byte) error {
			_, err := p.out.Write(append(slices.Clip(line), '\n'))
			return err
		}
	}
	more, err := readList(response.Body, show)
	switch {
	case err != nil:
		return err
	case len(rows) == 1 && head != nil:
		p.line("nothing found")
	default:
		p.table(rows)
	}
	if more {
		p.note("there are more: add --limit 0, or --from and --to")
	}
	return nil
}

func listRow(l admin.Listed) []string {
	price := priceOf(l.LastPayment)
	if l.Payments > 1 {
		price += fmt.Sprintf(" (%d payments)", l.Payments)
	}
	return []string{
		inUTC(&l.LastPayment.PaidAt), string(l.Status), endOf(l.Purchase), price, l.Pass, l.Resource,
		admin.Reference(l.ID), strings.Join(l.LastPayment.PaymentIDs, " "),
	}
}

// readList calls show with each line of a list except the last.
func readList(body io.Reader, show func(line []byte) error) (more bool, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var end admin.ListEnd
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

// priceOf is what was paid, in words.
func priceOf(p admin.Payment) string {
	paid := p.Amount.String() + " " + strings.ToUpper(p.Currency)
	switch {
	case p.Source == ledger.FromCoupon:
		return "by coupon"
	case p.Source != ledger.FromAxra:
		return "given"
	case p.Currency == "":
		paid = "no readable amount"
	}
	if p.Asked != nil {
		return paid + ", asked " + p.Asked.Amount.String() + " " + strings.ToUpper(p.Asked.Currency)
	}
	if p.Mismatch {
		return paid + ", not as asked"
	}
	return paid
}

// endOf is when access ends or has ended; it is empty if access was closed for another reason.
func endOf(p admin.Purchase) string {
	if p.Status == ledger.Active || p.Status == ledger.Expired {
		return inUTC(p.EndsAt)
	}
	return ""
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
			return run(cmd, admin.ShowPurchase, admin.PurchaseRequest{ID: args[0]}, printDetails)
		},
	}
}

func printDetails(p printer, details admin.Details) {
	var rows [][]string
	row := func(name string, values ...string) {
		values = slices.DeleteFunc(values, func(value string) bool { return value == "" })
		if len(values) > 0 {
			rows = append(rows, []string{name, strings.Join(values, "  ")})
		}
	}
	row("reference", details.Reference)
	row("id", details.ID)
	row("status", string(details.Status))
	row("ends (UTC)", endOf(details.Purchase))
	row("site", details.Site)
	row("pass", details.Pass)
	row("opens", details.Resource)
	for _, payment := range details.Payments {
		name := "paid"
		if payment.Source != ledger.FromAxra {
			name = "given"
		}
		row(name, inUTC(&payment.PaidAt)+" UTC", priceOf(payment), strings.Join(payment.PaymentIDs, " "), payment.Note)
		row("", "session "+payment.Session)
	}
	for _, id := range details.DoubleCharges {
		row("charged twice", id, "refund it in Axra")
	}
	history := slices.Concat(details.Events, details.Decisions)
	slices.SortStableFunc(history, func(a, b admin.Event) int { return a.At.Compare(b.At) })
	for _, event := range history {
		row(event.Kind, inUTC(&event.At)+" UTC", strings.Join(event.PaymentIDs, " "), event.Note)
	}
	rowsOfUse(row, details)
	p.table(rows)
}

// rowsOfUse says how much of what was bought is in use.
func rowsOfUse(row func(name string, values ...string), details admin.Details) {
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
	return decideCommand(admin.Revoke, "revoke", "Withdraws the access of a purchase",
		"Withdraws the access of a purchase, with all that extends it, on every node within about a second. "+namesPurchase+
			"\nNo money is refunded: do that in Axra, which closes the purchase by itself.")
}

func restoreCommand() *cobra.Command {
	return decideCommand(admin.Restore, "restore", "Gives back access that was revoked",
		"Gives back access that was revoked. "+namesPurchase+"\nIt undoes no refund and no dispute: for those, give access anew.")
}

func decideCommand(o admin.Operation[admin.DecideRequest, admin.Purchase], name, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " <purchase> [--note <why>]",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
	}
	note := cmd.Flags().String("note", "", "Why, for whoever looks it up later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return run(cmd, o, admin.DecideRequest{ID: args[0], Note: *note}, func(p printer, purchase admin.Purchase) {
			p.line("%s is %s", admin.Reference(purchase.ID), purchase.Status)
		})
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
			request := admin.RemoveDeviceRequest{ID: args[0], Device: args[1]}
			return run(cmd, admin.RemoveDevice, request, func(p printer, details admin.Details) {
				p.line("device %s was removed from %s", request.Device, admin.Reference(details.ID))
			})
		},
	}
}
