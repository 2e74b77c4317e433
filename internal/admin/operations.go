package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// Base begins the paths of all operations.
const Base = "/axra/"

// Endpoint is where an operation is called; its path is below Base.
type Endpoint struct{ Method, Path string }

// Operation is an endpoint with the types of its request and its answer, both JSON. With GET the request is the
// query. An io.Reader stands for a body that is no JSON.
type Operation[Request, Answer any] struct{ Endpoint }

// None is the request of an operation that takes none.
type None struct{}

// The operations of the API. Those that look something up by an id use POST, since Caddy logs addresses.
var (
	// ListPurchases answers JSON lines, the newest payment first; a ListEnd is the last.
	ListPurchases = Operation[ListRequest, Listed]{Endpoint{http.MethodPost, "purchases"}}
	ShowPurchase  = Operation[PurchaseRequest, Details]{Endpoint{http.MethodPost, "purchase"}}
	Revoke        = Operation[DecideRequest, Purchase]{Endpoint{http.MethodPost, "revoke"}}
	Restore       = Operation[DecideRequest, Purchase]{Endpoint{http.MethodPost, "restore"}}
	RemoveDevice  = Operation[RemoveDeviceRequest, Details]{Endpoint{http.MethodPost, "device/remove"}}
	Give          = Operation[GiveRequest, Link]{Endpoint{http.MethodPost, "give"}}
	MakeLink      = Operation[LinkRequest, Link]{Endpoint{http.MethodPost, "link"}}

	GetReport     = Operation[ReportRequest, Report]{Endpoint{http.MethodGet, "report"}}
	Sweep         = Operation[None, Swept]{Endpoint{http.MethodPost, "sweep"}}
	Export        = Operation[None, io.Reader]{Endpoint{http.MethodGet, "export"}}
	Import        = Operation[io.Reader, Imported]{Endpoint{http.MethodPost, "import"}}
	Backup        = Operation[None, io.Reader]{Endpoint{http.MethodGet, "backup"}}
	RestoreBackup = Operation[io.Reader, Restored]{Endpoint{http.MethodPost, "backup/restore"}}

	ListKeys   = Operation[None, []token.KeyInfo]{Endpoint{http.MethodGet, "keys"}}
	RotateKeys = Operation[None, []token.KeyInfo]{Endpoint{http.MethodPost, "keys/rotate"}}
	RemoveKey  = Operation[RemoveKeyRequest, []token.KeyInfo]{Endpoint{http.MethodPost, "keys/remove"}}

	ReplayWebhook    = Operation[ReplayRequest, Replayed]{Endpoint{http.MethodPost, "webhook/replay"}}
	RejectedWebhooks = Operation[None, []webhook.Captured]{Endpoint{http.MethodGet, "webhook/refused"}}
)

// Headers of exports and backups. Checksum and rows are trailers: whoever gets them has the whole body.
const (
	HeaderLedgerSize = "Axra-Ledger-Size" // of the ledger's file in bytes, to show progress
	HeaderChecksum   = "Axra-Sha256"
	HeaderRows       = "Axra-Rows" // of an export
)

// PurchaseRequest names a purchase by the beginning of its id, a session id or a payment id.
type PurchaseRequest struct {
	ID string `json:"id"`
}

// DecideRequest revokes or restores a purchase.
type DecideRequest struct {
	ID   string `json:"id"`
	Note string `json:"note"`
}

// RemoveDeviceRequest names a device of a purchase.
type RemoveDeviceRequest struct {
	ID     string `json:"id"`
	Device string `json:"device"`
}

// ListRequest chooses the purchases to list; an empty field chooses all.
type ListRequest struct {
	Site   string        `json:"site,omitempty"`
	Pass   string        `json:"pass,omitempty"`
	Status ledger.Status `json:"status,omitempty"`
	From   string        `json:"from,omitempty"` // of the last payment
	To     string        `json:"to,omitempty"`
	Search string        `json:"search,omitempty"` // the beginning of a reference, a session id or a payment id
	Limit  int           `json:"limit,omitempty"`  // number of purchases; 0: all
}

// Purchase is a purchase without its payments.
type Purchase struct {
	ID       string        `json:"id"`
	Site     string        `json:"site"`
	Pass     string        `json:"pass"`
	Resource string        `json:"resource"`
	Status   ledger.Status `json:"status"`
	StartsAt time.Time     `json:"starts_at"`
	EndsAt   *time.Time    `json:"ends_at"` // null: no expiry
}

// Listed is a purchase in a list.
type Listed struct {
	Purchase

	Payments    int     `json:"payments"`
	LastPayment Payment `json:"last_payment"`
}

// ListEnd is the last line of a list.
type ListEnd struct {
	End   bool   `json:"end"`
	More  bool   `json:"more,omitempty"` // than the limit
	Error string `json:"error,omitempty"`
}

// Payment is a payment, or access that was given.
type Payment struct {
	Session    string            `json:"session,omitempty"` // a credential: only Details has it
	PaymentIDs []string          `json:"payment_ids"`
	Source     ledger.Source     `json:"source"`
	PaidAt     time.Time         `json:"paid_at"`
	Amount     json.Number       `json:"amount,omitempty"` // absent if access was given
	Currency   string            `json:"currency,omitempty"`
	Mismatch   bool              `json:"mismatch,omitempty"` // another amount or currency than asked
	Asked      *Price            `json:"asked,omitempty"`    // the price, if another amount came
	Paid       string            `json:"paid,omitempty"`     // as the event states it, if the amount cannot be read
	Note       string            `json:"note,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

// Price is an amount in major units of a currency.
type Price struct {
	Amount   json.Number `json:"amount"`
	Currency string      `json:"currency"`
}

// Details is all that is known about one purchase.
type Details struct {
	Purchase

	Reference      string            `json:"reference"` // what the buyer sees
	Payments       []Payment         `json:"payments"`
	DoubleCharges  []string          `json:"double_charges"` // payment ids to refund
	Events         []Event           `json:"events"`
	Decisions      []Event           `json:"decisions"`
	Devices        []Device          `json:"devices"` // also those that were removed
	DeviceLimit    int               `json:"device_limit"`
	Claims         map[string]string `json:"claims,omitempty"` // claim or gift: the device that took it
	Downloads      int               `json:"downloads"`
	DownloadLimit  int               `json:"download_limit,omitempty"`  // 0: not limited
	DownloadsUntil *time.Time        `json:"downloads_until,omitempty"` // end of the last download window
}

// Event is one thing that happened to a purchase.
type Event struct {
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`
	PaymentIDs []string  `json:"payment_ids,omitempty"`
	Note       string    `json:"note,omitempty"`
}

// Device is a browser or a program that uses a purchase.
type Device struct {
	ID        string     `json:"id"`
	Label     string     `json:"label,omitempty"`
	AddedAt   time.Time  `json:"added_at"`
	RemovedAt *time.Time `json:"removed_at,omitempty"`
}

// GiveRequest asks for access without a payment.
type GiveRequest struct {
	URL     string `json:"url"`               // the page it opens; its origin is the site
	Pass    string `json:"pass,omitempty"`    // not needed if only one opens the page
	Key     string `json:"key,omitempty"`     // which one, of a pass that is sold by a key
	Like    string `json:"like,omitempty"`    // purchase whose terms are given, in place of Pass and Key
	For     string `json:"for,omitempty"`     // 30d, 12h or forever; empty: as it is sold
	Devices *int   `json:"devices,omitempty"` // absent: one
	Note    string `json:"note,omitempty"`
}

// LinkRequest asks for a link that opens a purchase.
type LinkRequest struct {
	ID     string `json:"id"`
	URL    string `json:"url,omitempty"`    // the page it leads to; empty: the path that was bought
	Direct bool   `json:"direct,omitempty"` // a private address, which works without a click and a cookie
	For    string `json:"for,omitempty"`    // how long it works; empty: 7 days
}

// Link opens a purchase.
type Link struct {
	Purchase string    `json:"purchase"`
	Link     string    `json:"link"`
	Expires  time.Time `json:"link_expires"`
}

// ReportRequest is a span of time; an empty end leaves it open.
type ReportRequest struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Report adds up what happened within a time.
type Report struct {
	From          *time.Time   `json:"from,omitempty"` // absent: the beginning
	To            time.Time    `json:"to"`
	Lines         []ReportLine `json:"lines"`
	Mismatched    int          `json:"mismatched"` // payments in another amount or currency than asked
	DoubleCharges int          `json:"double_charges"`
}

// ReportLine adds up one pass in one currency.
type ReportLine struct {
	Site         string      `json:"site"`
	Pass         string      `json:"pass"`
	Currency     string      `json:"currency"`
	Sales        Sum         `json:"sales"`
	Refunds      Sum         `json:"refunds"`
	Disputes     Sum         `json:"disputes"`
	DisputesLost Sum         `json:"disputes_lost"`
	Net          json.Number `json:"net"`
}

// Sum is a number of payments and their amount in major units.
type Sum struct {
	Count  int         `json:"count"`
	Amount json.Number `json:"amount"`
}

// Swept counts what a sweep deleted.
type Swept struct {
	Purchases int `json:"purchases"` // with all that belongs to them
	Events    int `json:"events"`    // that matched no payment
}

// Imported says what an import did.
type Imported struct {
	Installation string `json:"installation"` // that the ledger has adopted, with its keys
	Rows         int    `json:"rows"`
}

// Restored describes a backup that was restored.
type Restored struct {
	Installation string     `json:"installation"`
	Payments     int        `json:"payments"`
	LastPayment  *time.Time `json:"last_payment,omitempty"`
	Kept         string     `json:"kept,omitempty"` // where the ledger that was replaced is
}

// RestoredFrom describes what the ledger restored.
func RestoredFrom(r ledger.Restored) Restored {
	return Restored{Installation: r.Installation, Payments: r.Payments, LastPayment: optionalTime(r.LastPayment), Kept: r.Kept}
}

// RemoveKeyRequest names a signing key.
type RemoveKeyRequest struct {
	ID string `json:"kid"`
}

// ReplayRequest is an event that Axra sent, or should have sent.
type ReplayRequest struct {
	Body   []byte      `json:"body"`             // base64
	Header http.Header `json:"header,omitempty"` // of the request, if known
	Trust  bool        `json:"trust,omitempty"`  // takes a body without a good signature
}

// Replayed says what became of a replayed event.
type Replayed struct {
	Event   string `json:"event"`
	Outcome string `json:"outcome"`
	Session string `json:"session,omitempty"`
	Signed  bool   `json:"signed"`
}

// Reference names a purchase to people.
func Reference(purchaseID string) string { return purchaseID[:min(10, len(purchaseID))] }
