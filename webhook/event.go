package webhook

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-axra/paywall/money"
)

// ErrMalformed means that the bytes are not an event. A signed but malformed event is answered with 400.
var ErrMalformed = errors.New("malformed event")

// Type is the name of an event [manage/webhooks, manage/disputes, payments/local-rails-checkout].
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

	// Paid is the amount paid. AmountError is not nil if amount or currency were absent or invalid.
	Paid        money.Price
	PaidRaw     string // amount and currency as the event states them
	AmountError error

	// Metadata holds the strings given at creation and those that Axra added; nil if there is no such object.
	Metadata map[string]string
}

// maxID bounds ids in bytes; the documented ones are about 30 long.
const maxID = 256

// Decode reads an event and ignores unknown fields. For the fields it reads, it rejects ambiguous JSON: repeated keys,
// keys that differ only in case, wrong types, trailing data, invalid UTF-8. Of an undocumented event it reads only the
// name and the time. The error wraps ErrMalformed.
func Decode(body []byte) (Event, error) {
	envelope, err := readObject(body, "event", "timestamp", "data")
	if err != nil {
		return Event{}, err
	}
	var event Event
	var timestamp string
	envelope.read("event", &event.Type)
	envelope.read("timestamp", &timestamp)
	if envelope.err == nil && event.Type == "" {
		envelope.err = fmt.Errorf("%w: no event name", ErrMalformed)
	}
	if parsed, err := time.Parse(time.RFC3339Nano, timestamp); err == nil {
		event.Timestamp = parsed
	}
	// The data of undocumented events could have any form.
	if raw := envelope.fields["data"]; envelope.err == nil && !isNull(raw) && event.Type.Known() {
		envelope.err = event.readData(raw)
	}
	if envelope.err != nil {
		return Event{}, envelope.err
	}
	return event, nil
}

// paymentIDs are the fields of data that may hold an id of the payment.
var paymentIDs = []string{"paymentId", "id", "transactionId", "businessPaymentId"}

func (e *Event) readData(raw json.RawMessage) error {
	data, err := readObject(raw, append([]string{"amount", "currency", "sessionId", "metadata"}, paymentIDs...)...)
	if err != nil {
		return err
	}
	data.read("sessionId", &e.Session)
	if err := e.readMetadata(data.fields["metadata"]); err != nil {
		return err
	}
	e.Session = cmp.Or(e.Metadata["sessionId"], e.Session) // the id in the metadata is the documented one
	for _, name := range paymentIDs {
		var id string
		if data.read(name, &id); id != "" && !slices.Contains(e.PaymentIDs, id) {
			e.PaymentIDs = append(e.PaymentIDs, id)
		}
	}
	if len(e.PaymentIDs) > 0 {
		e.Payment = e.PaymentIDs[0]
	}
	if slices.ContainsFunc(append(e.PaymentIDs, e.Session), func(id string) bool { return len(id) > maxID }) {
		return fmt.Errorf("%w: an id of more than %d bytes", ErrMalformed, maxID)
	}
	var amount json.Number // or a string that holds one: Axra documents numbers, but some payment APIs send strings
	var currency string
	data.read("amount", &amount)
	data.read("currency", &currency)
	e.PaidRaw = strings.TrimSpace(amount.String() + " " + currency)
	if amount == "" || currency == "" {
		e.AmountError = fmt.Errorf("%w: amount or currency is missing", ErrMalformed)
	} else {
		e.Paid, e.AmountError = money.ParsePaid(amount.String(), currency)
	}
	return data.err
}

// readMetadata keeps the strings. Metadata that is not an object counts as absent,
// since a session of ours cannot have it.
func (e *Event) readMetadata(raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	metadata, err := readObject(raw, "*")
	if err != nil {
		return err
	}
	e.Metadata = make(map[string]string, len(metadata.fields))
	for name, value := range metadata.fields {
		var text string // null leaves it empty
		if json.Unmarshal(value, &text) == nil {
			e.Metadata[name] = text
		}
	}
	return nil
}

// object is a JSON object, and the first error about one of its fields.
type object struct {
	fields map[string]json.RawMessage
	err    error
}

// readObject reads one JSON object and nothing after it. A key named in watched may occur only once, in any case of its
// letters; with "*" no key may be repeated. encoding/json takes the last of several keys and ignores case, so two
// readers of one signed body could see two different payments.
func readObject(raw []byte, watched ...string) (*object, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, fmt.Errorf("%w: not one JSON value in UTF-8", ErrMalformed)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw)) // which cannot fail from here on
	if open, _ := decoder.Token(); open != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	fields := make(map[string]json.RawMessage)
	for decoder.More() {
		var value json.RawMessage
		key, _ := decoder.Token()
		name, _ := key.(string)
		_, isRepeated := fields[name]
		for _, field := range watched {
			if (field == "*" || field == name) && isRepeated || field != name && strings.EqualFold(field, name) {
				return nil, fmt.Errorf("%w: key %q is repeated or written in another case", ErrMalformed, name)
			}
		}
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	return &object{fields: fields}, nil
}

// read reads a field; it leaves the target empty for null and an absent field.
func (o *object) read(name string, into any) {
	if raw := o.fields[name]; !isNull(raw) && json.Unmarshal(raw, into) != nil && o.err == nil {
		o.err = fmt.Errorf("%w: %q has the wrong type", ErrMalformed, name)
	}
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// ShortID shortens an id for a log: enough to find it by, not enough to use it.
func ShortID(id string) string {
	if len(id) <= 12 {
		return id
	}
	return id[:12] + "…"
}
