package admin

import (
	"strings"

	"github.com/caddy-axra/paywall/ledger"
)

// Base begins the paths of all operations. None has a query, as Caddy logs it.
const Base = "/axra/"

// Operation is a call of the API, `POST /axra/NAME`, and a command, `caddy axra NAME`.
type Operation struct {
	Name        string // such as "keys list"; the path has a slash between the words
	Short, Long string // help
	endpoint
}

func op(name string, e endpoint, short, long string) Operation {
	return Operation{name, short, long, e}
}

// Path is the path of the operation.
func (o Operation) Path() string { return Base + strings.ReplaceAll(o.Name, " ", "/") }

// What several commands say.
const (
	namesPurchase = "A purchase is named by its reference, or by the id of a session or a payment."
	namesTimes    = "Times are days (2026-01-31), months (2026-01) or RFC 3339, in UTC; --to is not included."
	holdsKeys     = "The file holds the signing keys: whoever has it can make access tokens. Keep it as safe as the ledger.\n"
)

// Operations are all operations, in the order of `caddy axra help`.
var Operations = []Operation{
	op("list", answers((*API).list, ListRequest{Limit: 50}), "Lists purchases, the newest payment first",
		"--search finds the beginning of a reference, a session id or a payment id. "+namesTimes),
	op("show", answers((*API).show, PurchaseRequest{}), "Shows all that is known about one purchase",
		"Whoever has a session id may be able to open the purchase. Refund double charges in Axra. "+namesPurchase),
	op("revoke", answers(decide(ledger.Revoke), DecideRequest{}), "Withdraws the access of a purchase",
		"Every node withdraws it within about a second. No money is refunded: do that in Axra. "+namesPurchase),
	op("restore", answers(decide(ledger.Restore), DecideRequest{}), "Gives back access that was revoked",
		"It undoes no refund and no dispute: for those, give access anew. "+namesPurchase),
	op("remove-device", answers((*API).removeDevice, RemoveDeviceRequest{}), "Ends the use of a purchase on one device",
		"Every node ends it within about a second. caddy axra show lists the devices with their ids. "+namesPurchase),
	op("give", answers((*API).give, GiveRequest{Devices: 1}), "Gives access without a payment, and prints the link to it",
		`The link works for 7 days, for whoever has it; the access lasts as long as the pass does, or as --for says:
  caddy axra give https://example.com/premium/ --for 30d --note "review copy"`),
	op("link", answers((*API).link, LinkRequest{For: linkLife}), "Makes a link by which a purchase is opened elsewhere",
		"Whoever has the link can open the purchase at that address in one more browser; the page there asks first."),
	op("report", answers((*API).report, ReportRequest{}), "Adds up sales, refunds and disputes by pass and currency",
		`A refund counts when it was made, and as the whole payment, since Axra's events do not say how much it was. Net is
sales less refunds and less disputes lost. Mismatched payments and double charges, which you should refund, are not
included. `+namesTimes+"\n  caddy axra report --from 2026-01 --to 2026-02 --csv"),
	op("backup", downloads((*ledger.Ledger).Export), "Writes a backup of the ledger to a new file, while Caddy runs",
		"It is the ledger as of one moment, in JSON lines; - is the standard output. "+holdsKeys+"To put it back: caddy axra restore-backup."),
	op("restore-backup", uploads((*ledger.Ledger).Restore), "Replaces the ledger by a backup",
		`This is for a running Caddy; nothing is sold meanwhile. All of it is put back, or nothing. An SQLite ledger is written to
a file beside it before: delete that when all is well, as it holds the signing keys. What was paid since the backup is
missing afterwards: have Axra send those events again.`),
	op("export", downloads((*ledger.Ledger).Export), "Writes a backup to move it to another database",
		"It is the same as caddy axra backup. "+holdsKeys),
	op("import", uploads((*ledger.Ledger).Import), "Reads a backup into a ledger without payments",
		`This is for a running Caddy; - is the standard input. All of it is imported, or nothing. The ledger adopts the signing
keys of the backup, so all visitors stay logged in. Restart other nodes that use the same database.`),
	op("sweep", answers((*API).Sweep, struct{}{}), "Deletes purchases whose access ended longer ago than `keep`",
		"Events without a payment that are as old go, too. Caddy does so by itself once a day."),
	op("keys list", answers((*API).listKeys, struct{}{}), "Lists the signing keys, without their secrets", ""),
	op("keys rotate", answers((*API).rotateKeys, struct{}{}), "Adds a key that takes over in three minutes; nobody is logged out",
		"Old keys still verify what they have signed."),
	op("keys remove", answers((*API).removeKey, RemoveKeyRequest{}), "Removes a leaked key and voids what it has signed",
		"All that the key has signed is void at once: visitors with its cookies have to be let in anew."),
	op("webhook rejected", asFile(answers((*API).rejectedWebhooks, struct{}{})), "Writes the last webhooks that were rejected for their signature to a new file",
		`One could be signed, if there was any, and one could not. It is for caddy axra webhook inspect and replay; - is the
standard output. The option keep_rejected of axra_webhook must be on. Only headers that could sign are kept.`),
	op("webhook inspect", answers((*API).inspectWebhook, InspectRequest{}), "Shows how a captured webhook is signed, and what to write into the Caddyfile",
		`It tries the ways in which payment providers sign, with the webhook secrets of the running Caddy; none is printed. It
also shows the event, by the names of its fields. The file is what caddy axra webhook rejected writes, or a request as
HTTP/1.1 sends it; - is the standard input:
  caddy axra webhook rejected - | caddy axra webhook inspect -`),
	op("webhook replay", answers((*API).replayWebhook, ReplayRequest{}), "Accepts a webhook from a file, as if Axra had sent it",
		`The file is what caddy axra webhook rejected writes, a request as HTTP/1.1 sends it, or its body alone; - is the standard
input. --trust accepts an event without a signature: you answer for it. The exit code is 1 if it has no effect but should.`),
}
