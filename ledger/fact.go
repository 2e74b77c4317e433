package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// Kind says what a fact states.
type Kind string

// The kinds of facts that events state. Paid and Mismatch are keyed by session,
// the others by every id their event named: payment, session or both.
const (
	Paid        Kind = "paid"         // the session was paid as asked
	Mismatch    Kind = "mismatch"     // money came, but too little or in another currency
	Refunded    Kind = "refunded"     // the payment was refunded; final
	Disputed    Kind = "disputed"     // a chargeback was opened
	DisputeWon  Kind = "dispute_won"  // it was decided for the site
	DisputeLost Kind = "dispute_lost" // it was decided against the site; final

	// Given is access that the operator gave without a payment, keyed by a session id
	// of our own making; see Give.
	Given Kind = "given"

	// eventful marks an id about which more is known than a payment: any of
	// Refunded, Disputed, DisputeWon, DisputeLost, Extension or Decision. An untroubled
	// payment costs one look-up instead of many.
	eventful Kind = "adverse"
	// link leads from a payment id to the session that it paid.
	link Kind = "link"
)

// ErrGarbled: a record exists but cannot be trusted. The next delivery of the
// same event heals it.
var ErrGarbled = errors.New("garbled ledger record")

// recordVersion is written into every record.
const recordVersion = 1

// Fact is one immutable statement of the ledger.
type Fact struct {
	Kind    Kind
	Session string      // Axra's session id; may be empty for adverse events
	Payment string      // Axra's payment id; may be empty
	At      time.Time   // when it happened; access begins here
	Holder  string      // Device, Fetch, Claimed, Extension: who has the place; Decision: what was decided
	Note    string      // Given, Decision: why, in the operator's words
	Terms   terms.Terms // Paid, Mismatch, Given: what was sold or given
	Paid    money.Price // Paid, Mismatch: what arrived
}

// record is a fact as stored: flat, so that people can read it, with a
// checksum, so that a garbled one is never taken for a fact.
type record struct {
	Version  int               `json:"v"`
	Kind     Kind              `json:"kind"`
	Session  string            `json:"session,omitempty"`
	Payment  string            `json:"payment,omitempty"`
	At       time.Time         `json:"at"`
	Holder   string            `json:"holder,omitempty"`
	Note     string            `json:"note,omitempty"`
	Terms    map[string]string `json:"terms,omitempty"`
	Amount   string            `json:"amount,omitempty"`
	Currency string            `json:"currency,omitempty"`
	Sum      string            `json:"sum"`
}

// summed returns the encoded record with an empty checksum, and the checksum of that.
func (r record) summed() (raw []byte, sum string, err error) {
	r.Sum = ""
	if raw, err = json.Marshal(r); err != nil {
		return nil, "", fmt.Errorf("encoding a ledger record: %w", err)
	}
	hash := sha256.Sum256(raw)
	return raw, hex.EncodeToString(hash[:16]), nil
}

// encode puts the checksum in its place, which is at the end.
func (r record) encode() ([]byte, error) {
	const end = `"}`
	raw, sum, err := r.summed()
	if err != nil {
		return nil, err
	}
	return append(append(raw[:len(raw)-len(end)], sum...), end...), nil
}

func (f Fact) encode() ([]byte, error) {
	r := record{
		Version: recordVersion, Kind: f.Kind, Session: f.Session, Payment: f.Payment,
		At: f.At.UTC().Truncate(time.Second),
	}
	if f.Kind.numbered() {
		r.Holder = f.Holder
	}
	switch f.Kind {
	case Paid, Mismatch:
		r.Terms = f.Terms.Metadata()
		r.Amount, r.Currency = f.Paid.Amount.String(), f.Paid.Currency
	case Given:
		r.Terms, r.Note = f.Terms.Metadata(), f.Note
	case Decision:
		r.Note = f.Note
	}
	return r.encode()
}

func decode(raw []byte, want Kind) (Fact, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrGarbled, err)
	}
	if r.Version != recordVersion || r.Kind != want {
		return Fact{}, fmt.Errorf("%w: version %d, kind %q", ErrGarbled, r.Version, r.Kind)
	}
	if _, sum, err := r.summed(); err != nil || sum != r.Sum {
		return Fact{}, fmt.Errorf("%w: checksum", ErrGarbled)
	}
	if want.numbered() && r.Holder == "" {
		return Fact{}, fmt.Errorf("%w: a place without a holder", ErrGarbled)
	}
	f := Fact{Kind: r.Kind, Session: r.Session, Payment: r.Payment, At: r.At, Holder: r.Holder, Note: r.Note}
	var err error
	if f.Kind == Given {
		if f.Terms, err = terms.Unpriced(r.Terms); err != nil {
			return Fact{}, fmt.Errorf("%w: %w", ErrGarbled, err)
		}
		return f, nil
	}
	if r.Terms == nil {
		return f, nil
	}
	if f.Terms, err = terms.FromMetadata(r.Terms); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrGarbled, err)
	}
	if f.Paid.Amount, err = money.ParseAmount(r.Amount); err != nil {
		return Fact{}, fmt.Errorf("%w: %w", ErrGarbled, err)
	}
	f.Paid.Currency = r.Currency
	return f, nil
}
