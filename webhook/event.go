package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// ErrMalformed means that the bytes are not an event. A signed but malformed event
// is answered with 400.
var ErrMalformed = errors.New("malformed event")

// Type is the name of an event [manage/webhooks, manage/disputes,
// payments/local-rails-checkout].
type Type string

// The events that Axra documents.
const (
	PaymentCompleted     Type = "payment.completed"
	LinkSessionCompleted Type = "payment_link.session.completed"
	PaymentFailed        Type = "payment.failed"
	PaymentSettled       Type = "payment.settled"
	PaymentRefunded      Type = "payment.refunded"
	PaymentDisputed      Type = "payment.disputed"
	DisputeWon           Type = "payment.dispute_won"
	DisputeLost          Type = "payment.dispute_lost"
	CollectionCreated    Type = "collection.created"
	CollectionProcessing Type = "collection.processing"
	CollectionCompleted  Type = "collection.completed"
	CollectionFailed     Type = "collection.failed"
	CollectionExpired    Type = "collection.expired"
)

// known holds the documented events.
var known = map[Type]bool{
	PaymentCompleted: true, LinkSessionCompleted: true, PaymentFailed: true, PaymentSettled: true,
	PaymentRefunded: true, PaymentDisputed: true, DisputeWon: true, DisputeLost: true,
	CollectionCreated: true, CollectionProcessing: true, CollectionCompleted: true,
	CollectionFailed: true, CollectionExpired: true,
}

// Known reports whether Axra documents the event.
func (t Type) Known() bool { return known[t] }

// Completes reports whether the event proves a payment.
func (t Type) Completes() bool { return t == PaymentCompleted || t == LinkSessionCompleted }

// Event is the content of one webhook. Absent fields are zero.
type Event struct {
	Type      Type
	Timestamp time.Time // zero if absent or unreadable
	Session   string    // metadata.sessionId, else data.sessionId
	Payment   string    // the first of PaymentIDs

	// PaymentIDs are all ids of the payment in data, each once: paymentId, id,
	// transactionId and businessPaymentId. A later refund may name any of them.
	PaymentIDs []string

	// Paid is the amount paid. AmountError is not nil if amount or currency were absent
	// or invalid.
	Paid        money.Price
	PaidRaw     string // amount and currency as the event states them
	AmountError error

	// Metadata holds the strings given at creation and those that Axra added.
	// HasMetadata tells an absent object from an empty one.
	Metadata    map[string]string
	HasMetadata bool
}

// maxID bounds ids in bytes; the documented ones are about 30 long.
const maxID = 256

// Decode reads an event and ignores unknown fields. For the fields it reads, it rejects
// ambiguous JSON: repeated keys, keys that differ only in case, wrong types, trailing
// data, invalid UTF-8. Of an undocumented event it reads only the name and the time. The
// error wraps ErrMalformed.
func Decode(body []byte) (Event, error) {
	envelope, err := readObject(body, "event", "timestamp", "data")
	if err != nil {
		return Event{}, err
	}
	var event Event
	var timestamp string
	if err := errors.Join(
		readString(envelope, "event", (*string)(&event.Type)),
		readString(envelope, "timestamp", &timestamp),
	); err != nil {
		return Event{}, err
	}
	if event.Type == "" {
		return Event{}, fmt.Errorf("%w: no event name", ErrMalformed)
	}
	if parsed, err := time.Parse(time.RFC3339Nano, timestamp); err == nil {
		event.Timestamp = parsed
	}
	// The data of undocumented events could have any form.
	if raw, ok := envelope["data"]; ok && string(raw) != "null" && event.Type.Known() {
		if err := event.readData(raw); err != nil {
			return Event{}, err
		}
	}
	return event, nil
}

func (e *Event) readData(raw json.RawMessage) error {
	data, err := readObject(raw,
		"amount", "currency", "paymentId", "id", "transactionId", "businessPaymentId", "sessionId", "metadata")
	if err != nil {
		return err
	}
	if err := e.readMetadata(data["metadata"]); err != nil {
		return err
	}
	if err := readString(data, "sessionId", &e.Session); err != nil {
		return err
	}
	// The id in the metadata is the documented one.
	if id := e.Metadata["sessionId"]; id != "" {
		e.Session = id
	}
	for _, name := range []string{"paymentId", "id", "transactionId", "businessPaymentId"} {
		var id string
		if err := readString(data, name, &id); err != nil {
			return err
		}
		if len(id) > maxID {
			return fmt.Errorf("%w: an id of more than %d bytes", ErrMalformed, maxID)
		}
		if id != "" && !slices.Contains(e.PaymentIDs, id) {
			e.PaymentIDs = append(e.PaymentIDs, id)
		}
	}
	if len(e.PaymentIDs) > 0 {
		e.Payment = e.PaymentIDs[0]
	}
	if len(e.Session) > maxID {
		return fmt.Errorf("%w: an id of more than %d bytes", ErrMalformed, maxID)
	}
	return e.readAmount(data)
}

// readMetadata keeps the strings. Metadata that is not an object counts as absent,
// since a session of ours cannot have it.
func (e *Event) readMetadata(raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	values, err := readObject(raw, "*")
	if err != nil {
		return err
	}
	e.HasMetadata = true
	e.Metadata = make(map[string]string, len(values))
	for name, value := range values {
		var text string // null leaves it empty
		if json.Unmarshal(value, &text) == nil {
			e.Metadata[name] = text
		}
	}
	return nil
}

func (e *Event) readAmount(data map[string]json.RawMessage) error {
	var currency string
	if err := readString(data, "currency", &currency); err != nil {
		return err
	}
	amount, err := readNumber(data, "amount")
	if err != nil {
		return err
	}
	e.PaidRaw = strings.TrimSpace(amount + " " + currency)
	if amount == "" || currency == "" {
		e.AmountError = fmt.Errorf("%w: amount or currency is missing", ErrMalformed)
		return nil
	}
	e.Paid, e.AmountError = money.ParsePaid(amount, currency)
	return nil
}
