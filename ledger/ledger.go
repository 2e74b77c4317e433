// Package ledger keeps purchases, payments, events and devices in a SQL database. A purchase is a function of its rows:
// every insert recomputes it in the same transaction, so neither order nor repetition matters.
package ledger

import (
	"errors"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// Errors to check with errors.Is.
var (
	// ErrNotFound means that the right database was asked and has nothing. No other error may lead to "not paid".
	ErrNotFound = errors.New("not in the ledger")
	// ErrUnavailable wraps every failure of the database: the answer is unknown.
	ErrUnavailable = errors.New("the ledger is unavailable")
	// ErrForeign comes with ErrUnavailable: the database belongs to another installation, or was emptied or replaced.
	ErrForeign = errors.New("the ledger is not the one this process has opened")
	// ErrNoneLeft means that all devices or downloads of a purchase are used.
	ErrNoneLeft = errors.New("none is left")
	// ErrInactive means that the status of the purchase is not Active, or that the device was removed from it for good.
	ErrInactive = errors.New("the purchase is not active")
)

type (
	// Status is the state of a purchase.
	Status string
	// Source is where a payment came from.
	Source string
	// EventKind is what happened to a payment.
	EventKind string
	// DecisionKind is what an operator decided about a purchase.
	DecisionKind string
)

// The values of these types.
const (
	Active     Status = "active"
	Expired    Status = "expired"    // computed from EndsAt, never stored
	Refunded   Status = "refunded"   // by a refund or a lost dispute
	Disputed   Status = "disputed"   // a dispute is open
	Revoked    Status = "revoked"    // by the site's operator
	Mismatched Status = "mismatched" // paid in another amount or currency than asked, or for something else; it opens nothing

	FromAxra     Source = "axra"
	FromOperator Source = "operator" // has no amount and is in no sum of a report

	EventRefunded    EventKind = "refunded"
	EventDisputed    EventKind = "disputed"
	EventDisputeWon  EventKind = "dispute_won"
	EventDisputeLost EventKind = "dispute_lost"
	EventCollected   EventKind = "collected" // changes nothing, but names more ids of a payment

	Revoke  DecisionKind = "revoked"
	Restore DecisionKind = "restored" // only cancels Revoke; it reopens nothing that was refunded
)

// Purchase is what a buyer owns.
type Purchase struct {
	ID        string    `json:"id"`   // 32 hex digits, derived from the session of the first payment
	Site      string    `json:"site"` // origin, "https://example.com"
	Product   string    `json:"pass"`
	Resource  string    `json:"resource"`         // what it opens within the product; terms.AllPaths is all
	Status    Status    `json:"status"`           // as stored; StatusAt adds Expired
	StartsAt  time.Time `json:"starts_at"`        // of the first payment that is still good
	EndsAt    time.Time `json:"ends_at,omitzero"` // zero: no expiry
	CreatedAt time.Time `json:"-"`

	DeviceLimit          int       `json:"device_limit,omitempty"`
	DownloadLimit        int       `json:"download_limit,omitempty"` // 0: not limited
	DownloadsUsed        int       `json:"downloads,omitempty"`
	DownloadWindowEndsAt time.Time `json:"downloads_until,omitzero"` // zero: none was opened
}

// StatusAt is the status at a time.
func (p Purchase) StatusAt(at time.Time) Status {
	if p.Status == Active && !p.EndsAt.IsZero() && !at.Before(p.EndsAt) {
		return Expired
	}
	return p.Status
}

// Payment is money received for a purchase, or access that was given.
type Payment struct {
	SessionID  string            `json:"session,omitempty"`     // Axra's checkout session; for access that was given, the ledger's own id
	PaymentIDs []string          `json:"payment_ids,omitempty"` // provider payment ids that the event names; may be empty
	Source     Source            `json:"source"`
	Terms      terms.Terms       `json:"-"`                  // what was sold, from the signed metadata
	Paid       money.Price       `json:"-"`                  // zero Currency: the event states no amount that can be read
	PaidRaw    string            `json:"-"`                  // amount and currency as the event states them
	Mismatch   bool              `json:"mismatch,omitempty"` // amount or currency differ from the price: it opens nothing
	PaidAt     time.Time         `json:"paid_at"`            // fixed by the first delivery
	Metadata   map[string]string `json:"metadata,omitempty"` // the owner's own
	Note       string            `json:"note,omitempty"`     // of access that was given
}

// Event is a verified webhook about a payment. It is stored whether its payment is known or not.
type Event struct {
	Kind       EventKind `json:"kind"`
	SessionID  string    `json:"-"`                     // empty: the event names none
	PaymentIDs []string  `json:"payment_ids,omitempty"` // every payment id that the event names
	OccurredAt time.Time `json:"at"`
}

// Recorded is the outcome of recording a payment or an event.
type Recorded struct {
	New          bool     // the first delivery
	Purchase     Purchase // that it belongs to; zero ID: an event whose payment is not known yet
	Payment      Payment  // that an event is about, where it is known
	DoubleCharge bool     // a second payment of a session with other payment ids
}

// Device is a browser or a program that uses a purchase.
type Device struct {
	ID        string    `json:"id"`
	Label     string    `json:"label,omitempty"`
	AddedAt   time.Time `json:"added_at"`
	RemovedAt time.Time `json:"removed_at,omitzero"` // zero: it is in use
	Claimed   bool      `json:"claimed,omitempty"`   // it has taken the purchase over
}

// Holding is a purchase with the devices in use: what a node remembers of it.
type Holding struct {
	Purchase
	DeviceIDs []string
}

// Decision is one decision of the site's operator.
type Decision struct {
	Kind      DecisionKind `json:"kind"`
	Note      string       `json:"note,omitempty"`
	DecidedAt time.Time    `json:"at"`
}

// Position is a position in the change feed. The zero Position is before everything.
type Position struct {
	Seq    int64
	Nonce  string
	Writes int64 // transactions of the ledger so far
}

// Changes are the changes since a position of the feed.
type Changes struct {
	Position             // where the next poll starts
	PurchaseIDs []string // that changed
	Keys        bool     // the keys changed
	All         bool     // everything may have changed: too many changes, or the feed no longer holds the position
}

// Filter chooses purchases for List.
type Filter struct {
	Site, Product string    // empty: any
	Status        Status    // empty: any; Expired is understood
	From, To      time.Time // of the last payment; zero: no bound
	Query         string    // a prefix of a purchase id, a session id or a payment id; empty: any
	Limit         int       // 0: all
}

// Listed is a purchase as a list shows it, newest payment first.
type Listed struct {
	Purchase
	LastPayment Payment
	Payments    int
}

// Details is all that is known about one purchase.
type Details struct {
	Purchase
	Payments      []Payment  `json:"-"`
	Events        []Event    `json:"events,omitempty"`
	Decisions     []Decision `json:"decisions,omitempty"`
	Devices       []Device   `json:"devices,omitempty"`
	DoubleCharges []string   `json:"double_charges,omitempty"` // payment ids that were charged beside the first ones
}

// Report sums up a period; each event counts at its own time.
type Report struct {
	Lines         []ReportLine
	Mismatched    int // payments in another amount or currency than asked
	DoubleCharges int
}

// ReportLine sums up one product in one currency.
type ReportLine struct {
	Site, Product, Currency                string
	Sales, Refunds, Disputes, DisputesLost Sum
}

// Sum is a number of payments and their amount in minor units.
type Sum struct {
	Count int
	Minor int64
}
