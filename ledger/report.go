package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-axra/paywall/money"
)

// Line is one line of a Report: what happened to one pass in one currency.
type Line struct {
	Site     string `json:"site"`
	Pass     string `json:"pass"`
	Currency string `json:"currency"`

	Sales        Sum `json:"sales"`
	Refunds      Sum `json:"refunds"`
	Disputes     Sum `json:"disputes"`      // opened
	DisputesLost Sum `json:"disputes_lost"` // of these or of earlier ones

	// Net is sales less refunds and less disputes that were lost. What is in an open
	// dispute is in it until that is decided.
	Net money.Amount `json:"net"`
}

// MarshalJSON writes the amounts as JSON numbers with the digits of the currency, as they
// are in purchases.
func (l Line) MarshalJSON() ([]byte, error) {
	type sum struct {
		Count  int         `json:"count"`
		Amount json.Number `json:"amount"`
	}
	inDigits := func(s Sum) sum { return sum{s.Count, json.Number(l.Digits(s.Amount))} }
	type line Line
	return json.Marshal(struct {
		line

		Sales        sum         `json:"sales"`
		Refunds      sum         `json:"refunds"`
		Disputes     sum         `json:"disputes"`
		DisputesLost sum         `json:"disputes_lost"`
		Net          json.Number `json:"net"`
	}{
		line(l), inDigits(l.Sales), inDigits(l.Refunds), inDigits(l.Disputes), inDigits(l.DisputesLost),
		json.Number(l.Digits(l.Net)),
	})
}

// Sum is a number of payments and their amount in major units.
type Sum struct {
	Count  int          `json:"count"`
	Amount money.Amount `json:"amount"`
}

func (s *Sum) add(amount money.Amount) {
	s.Count++
	s.Amount = s.Amount.Add(amount)
}

// Report is the accounting of a time.
type Report struct {
	From  time.Time `json:"from,omitzero"` // absent: from the beginning on
	To    time.Time `json:"to"`            // not included
	Lines []Line    `json:"lines"`

	// Unfitting are payments that arrived in another amount or currency than asked.
	// They opened nothing and are in no line.
	Unfitting int `json:"unfitting"`
	// Unreadable are records that could not be read.
	Unreadable int `json:"unreadable"`
}

type lineKey struct{ site, pass, currency string }

// Report adds up what was sold, refunded and disputed from a time on until before
// another one: each by its own time, so that a refund counts when it was made. Axra's
// events do not say how much was refunded: the whole payment is taken.
func (a *Archive) Report(ctx context.Context, from, to time.Time) (Report, error) {
	report := Report{From: from, To: to, Lines: []Line{}}
	lines := make(map[lineKey]*Line)
	within := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	err := a.walk(ctx, Paid, func(record stored) error {
		paid, err := decode(record.raw, Paid)
		if err != nil {
			report.Unreadable++
			return nil //nolint:nilerr // it is counted
		}
		events, err := a.events(ctx, paid)
		if errors.Is(err, ErrGarbled) {
			report.Unreadable++
		} else if err != nil {
			return err
		}
		account(lines, paid, events, within)
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("adding up the payments: %w", err)
	}
	err = a.walk(ctx, Mismatch, func(record stored) error {
		switch fact, err := decode(record.raw, Mismatch); {
		case err != nil:
			report.Unreadable++
		case within(fact.At):
			report.Unfitting++
		}
		return nil
	})
	for _, line := range slices.SortedFunc(maps.Values(lines), compare) {
		line.Net = line.Sales.Amount.Sub(line.Refunds.Amount).Sub(line.DisputesLost.Amount)
		report.Lines = append(report.Lines, *line)
	}
	return report, err
}

func compare(x, y *Line) int {
	return cmp.Or(cmp.Compare(x.Site, y.Site), cmp.Compare(x.Pass, y.Pass), cmp.Compare(x.Currency, y.Currency))
}

// account enters a payment, and what became of it, where it falls into the time.
func account(lines map[lineKey]*Line, paid Fact, events []Fact, within func(time.Time) bool) {
	enter := func(at time.Time, into func(*Line) *Sum) {
		if !within(at) {
			return
		}
		key := lineKey{paid.Terms.Site, paid.Terms.Pass, paid.Paid.Currency}
		if lines[key] == nil {
			lines[key] = &Line{Site: key.site, Pass: key.pass, Currency: key.currency}
		}
		into(lines[key]).add(paid.Paid.Amount)
	}
	enter(paid.At, func(l *Line) *Sum { return &l.Sales })
	refunded := false
	for _, event := range events {
		switch event.Kind {
		case Refunded:
			refunded = true
			enter(event.At, func(l *Line) *Sum { return &l.Refunds })
		case Disputed:
			enter(event.At, func(l *Line) *Sum { return &l.Disputes })
		case DisputeLost:
			if !refunded { // the money goes back once
				enter(event.At, func(l *Line) *Sum { return &l.DisputesLost })
			}
		}
	}
}

// Digits writes an amount with the digits of the line's currency.
func (l Line) Digits(amount money.Amount) string {
	return money.Price{Amount: amount, Currency: l.Currency}.Digits()
}
