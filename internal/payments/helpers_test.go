package payments_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/webhook"
)

const (
	installation = "0123456789abcdef"
	day          = 24 * time.Hour
)

var (
	clock   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	errDown = errors.New("the ledger is down")
)

// desk is a recorder with a ledger that answers as a test says.
type desk struct {
	*payments.Recorder
	t        *testing.T
	answer   ledger.Recorded
	down     bool
	recorded []string // payments and events that the ledger was given
	counted  []string
	events   []string // that were published
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, answer: ledger.Recorded{New: true}}
	progress := payments.NewProgress(func() time.Time { return clock })
	t.Cleanup(func() { _ = progress.Destruct() })
	d.Recorder = &payments.Recorder{
		Ledger: d, Metrics: d, Progress: progress, Keep: 60 * day, Now: func() time.Time { return clock }, Logger: zap.NewNop(),
		Installation: func(context.Context) (string, error) { return installation, nil },
		Publish:      d.publish,
	}
	return d
}

func (d *desk) RecordPayment(_ context.Context, p ledger.Payment) (ledger.Recorded, error) {
	if d.down {
		return ledger.Recorded{}, errDown
	}
	what := "payment"
	if p.Mismatch {
		what = "mismatch"
	}
	d.recorded = append(d.recorded, fmt.Sprint(what, " ", p.SessionID, " ", p.PaymentIDs, " ", p.Metadata))
	return d.answer, nil
}

func (d *desk) RecordEvent(_ context.Context, e ledger.Event) (ledger.Recorded, error) {
	if d.down {
		return ledger.Recorded{}, errDown
	}
	d.recorded = append(d.recorded, fmt.Sprint(e.Kind, " ", e.SessionID, " ", e.PaymentIDs))
	return d.answer, nil
}

func (d *desk) CountAmount(outcome payments.Outcome, p ledger.Payment) {
	d.counted = append(d.counted, string(outcome)+" "+p.Paid.String())
}

// publish keeps an event in one line: the values in the order of their keys, as placeholders show them.
func (d *desk) publish(name string, data map[string]any) {
	line := name
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if value := fmt.Sprint(data[key]); value != "" {
			line += " " + key + "=" + value
		}
	}
	d.events = append(d.events, line)
}

// take decodes and records a webhook.
func (d *desk) take(body string) (payments.Outcome, error) {
	d.t.Helper()
	event, err := webhook.Decode([]byte(body))
	if err != nil {
		d.t.Fatal(err)
	}
	return d.Record(d.t.Context(), event)
}

// sold is the terms of the session cs_1: a month for 5.00 usd.
func sold() terms.Terms {
	price, err := money.Parse("5.00", "usd")
	if err != nil {
		panic(err)
	}
	return terms.Terms{
		Installation: installation, Site: "https://example.com", Pass: "month", Resource: "*", Price: price,
		Access: terms.Access(30 * day),
	}
}

// metadata is that of the session cs_1, with changes; nil removes a key.
func metadata(changes map[string]any) map[string]any {
	all := map[string]any{"sessionId": "cs_1", "order": "7"}
	for name, value := range sold().Metadata() {
		all[name] = value
	}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// event is a webhook with the payment bpay_1 of 5.00 usd and the metadata of cs_1, with changes to data; nil removes a key.
func event(name string, changes map[string]any) string {
	data := map[string]any{"paymentId": "bpay_1", "amount": 5, "currency": "USD", "metadata": metadata(nil)}
	for key, value := range changes {
		if data[key] = value; value == nil {
			delete(data, key)
		}
	}
	raw, err := json.Marshal(map[string]any{"event": name, "timestamp": clock.Format(time.RFC3339), "data": data})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
