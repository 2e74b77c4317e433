package admin

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddy-axra/paywall/ledger"
)

// Base begins the paths of all operations. None has a query, as Caddy logs it.
const Base = "/axra/"

// Operation is a call of the API, `POST /axra/NAME`, and a command, `caddy axra NAME`.
type Operation struct {
	Name string // such as "keys list"; the path has a slash between the words
	Form Form

	Short, Long, Example string // help; without Short, the command is written by hand
	Columns              string // of the answer's table, separated by spaces; empty: all
	CSV                  bool   // the answer's table may be had as CSV
	Confirm              string // why the command needs --yes
	Note                 string // printed after the answer

	endpoint
}

// Path is the path of the operation.
func (o Operation) Path() string { return Base + strings.ReplaceAll(o.Name, " ", "/") }

// Form is what passes between the API and who calls it.
type Form int

// Forms of operations. A request is JSON unless it is a file.
const (
	JSON     Form = iota // one value
	Lines                // streamed JSON lines
	Download             // the answer is a file
	Upload               // the request is a file, the answer is JSON
)

// endpoint serves an operation.
type endpoint struct {
	// NewRequest returns a pointer to an empty request. Its fields are arguments of the command, or flags, which have
	// the tags `help` and `default`.
	NewRequest func() any
	serve      func(*API, http.ResponseWriter, *http.Request) error
}

// None is the request of an operation that takes none.
type None struct{}

// answers makes an endpoint that takes and answers JSON.
func answers[Request, Answer any](do func(*API, context.Context, Request) (Answer, error)) endpoint {
	return endpoint{newRequest[Request], func(a *API, w http.ResponseWriter, r *http.Request) error {
		var request Request
		if err := readRequest(w, r, &request); err != nil {
			return err
		}
		answer, err := do(a, r.Context(), request)
		if err != nil {
			return err
		}
		return writeJSON(w, answer)
	}}
}

func newRequest[Request any]() any { return new(Request) }

// What several commands say.
const (
	namesPurchase = "A purchase is named by its reference, or by the id of a session or a payment."
	namesTimes    = "Times are days (2026-01-31), months (2026-01) or RFC 3339, in UTC; --to is not included."
	holdsKeys     = "The file holds the signing keys: whoever has it can make access tokens. Keep it as safe as the ledger."
	linkNote      = "Whoever has the link can use it."
)

// Operations are all operations, in the order of `caddy axra help`.
var Operations = []Operation{
	{
		Name: "list", Form: Lines,
		endpoint: endpoint{newRequest[ListRequest], (*API).listPurchases},
		Columns:  "paid_at status ends_at paid source payments pass resource reference payment_ids",
		Short:    "Lists purchases, the newest payment first",
		Long:     "--search finds the beginning of a reference, a session id or a payment id. " + namesTimes,
	},
	{
		Name: "show", endpoint: answers((*API).showPurchase),
		Short: "Shows all that is known about one purchase",
		Long:  "Whoever has a session id may be able to open the purchase. Refund double charges in Axra. " + namesPurchase,
	},
	{
		Name: "revoke", endpoint: answers(decide(ledger.Revoke)),
		Short: "Withdraws the access of a purchase",
		Long:  "Every node withdraws it within about a second. No money is refunded: do that in Axra. " + namesPurchase,
	},
	{
		Name: "restore", endpoint: answers(decide(ledger.Restore)),
		Short: "Gives back access that was revoked",
		Long:  `It undoes no refund and no dispute: for those, give access anew. ` + namesPurchase,
	},
	{
		Name: "remove-device", endpoint: answers((*API).removeDevice),
		Short: "Ends the use of a purchase on one device",
		Long:  "Every node ends it within about a second. caddy axra show lists the devices with their ids. " + namesPurchase,
	},
	{
		Name: "give", endpoint: answers((*API).give), Note: linkNote,
		Short:   "Gives access without a payment, and prints the link to it",
		Long:    "The link works for 7 days; the access lasts as long as the pass does, or as --for says.",
		Example: `  caddy axra give https://example.com/premium/ --for 30d --note "review copy"`,
	},
	{
		Name: "link", endpoint: answers((*API).makeLink), Note: linkNote,
		Short: "Makes a link by which a purchase is opened or downloaded elsewhere",
		Long: `The link opens the purchase at an address of its site in one more browser; the page there asks first. With --direct it
opens that one address by itself: for download managers and podcast players. The gate must have links on.`,
	},
	{
		Name: "report", endpoint: answers((*API).report), CSV: true,
		Short: "Adds up sales, refunds and disputes by pass and currency",
		Long: `A refund counts when it was made, and as the whole payment, since Axra's events do not say how much it was. Net is
sales less refunds and less disputes lost. Mismatched payments and double charges, which you should refund, are not
included. ` + namesTimes,
		Example: "  caddy axra report --from 2026-01 --to 2026-02 --csv",
	},
	{
		Name: "backup", Form: Download,
		endpoint: endpoint{newRequest[None], (*API).backup}, Note: holdsKeys,
		Short: "Writes a backup of the ledger to a file, while Caddy runs",
		Long: `It is a copy of the ledger's SQLite file as of one moment; - is the standard output. ` + holdsKeys + `
To put it back: caddy axra restore-backup. For a ledger in PostgreSQL, use pg_dump and pg_restore.`,
		Example: "  caddy axra backup /var/backups/axra-$(date +%F).db",
	},
	{
		Name: "restore-backup", Form: Upload,
		endpoint: endpoint{newRequest[None], (*API).restoreBackup},
		Note:     "Delete the ledger that was kept when all is well: it holds the signing keys.",
		Short:    "Puts a backup in place of the ledger",
		Long: `This is for a running Caddy; nothing is sold at that moment. The ledger before is kept
beside it. What was paid since the backup is missing afterwards: have Axra send those events again. On a new machine,
copy the backup to the path of the ledger before Caddy starts for the first time.`,
	},
	{
		Name: "export", Form: Download,
		endpoint: endpoint{newRequest[None], (*API).export}, Note: holdsKeys,
		Short: "Writes the ledger to a file, as JSON lines",
		Long: `It is for reading, or for moving to another database; - is the standard output. ` + holdsKeys + `
For backups, caddy axra backup is faster.`,
	},
	{
		Name: "import", Form: Upload, endpoint: endpoint{newRequest[None], (*API).importRows},
		Short: "Reads an export into a ledger without payments",
		Long: `This is for a running Caddy; - is the standard input. All of it is imported, or nothing. The
ledger adopts the signing keys of the export, so nobody is logged out. Restart other nodes that use the same database.`,
	},
	{
		Name: "sweep", endpoint: answers((*API).sweep),
		Short: "Deletes purchases whose access ended longer ago than `keep`",
		Long:  `Events without a payment that are as old go, too. Caddy does so by itself once a day.`,
	},
	{
		Name: "keys list", endpoint: answers((*API).listKeys),
		Short: "Lists the signing keys, without their secrets",
	},
	{
		Name: "keys rotate", endpoint: answers((*API).rotateKeys),
		Short: "Adds a key that takes over in three minutes; nobody is logged out",
		Long:  "Old keys still verify what they have signed.",
	},
	{
		Name: "keys remove", endpoint: answers((*API).removeKey),
		Confirm: "everybody whose cookies this key has signed would be logged out: add --yes if it has leaked, or rotate",
		Short:   "Removes a leaked key and voids what it has signed",
		Long:    "All that the key has signed is void at once: visitors with its cookies have to be let in anew.",
	},
	ReplayWebhook,
	RejectedWebhooks,
}

// Operations whose commands are written by hand.
var (
	ReplayWebhook    = Operation{Name: "webhook replay", endpoint: answers((*API).replayWebhook)}
	RejectedWebhooks = Operation{Name: "webhook refused", endpoint: answers((*API).rejectedWebhooks)}
)
