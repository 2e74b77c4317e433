package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// PurchaseRequest names a purchase.
type PurchaseRequest struct {
	ID string `json:"purchase"` // the beginning of its id, a session id or a payment id
}

// DecideRequest revokes or restores a purchase.
type DecideRequest struct {
	ID   string `json:"purchase"`
	Note string `json:"note,omitempty" help:"Why, for later reference"`
}

// RemoveDeviceRequest names a device of a purchase.
type RemoveDeviceRequest struct {
	ID     string `json:"purchase"`
	Device string `json:"device"`
}

// ListRequest chooses the purchases to list; an empty field chooses all.
type ListRequest struct {
	Search string `json:"search,omitempty" help:"Only what this reference, session id or payment id means"`
	Pass   string `json:"pass,omitempty" help:"Only this pass"`
	Site   string `json:"site,omitempty" help:"Only this site, such as https://example.com"`
	Status string `json:"status,omitempty" help:"Only active, expired, refunded, disputed, revoked or mismatched"`
	From   string `json:"from,omitempty" help:"Only paid at this time or later"`
	To     string `json:"to,omitempty" help:"Only paid before this time"`
	Limit  int    `json:"limit" help:"At most so many, up to 10000"`
}

// maxListed bounds a list, which is held in memory.
const maxListed = 10_000

// Purchase is all that is known about a purchase.
type Purchase struct {
	Reference string `json:"reference"` // what the buyer sees
	ledger.Details

	Payments []Payment `json:"payments,omitempty"`
}

// Payment is a payment, or access that was given.
type Payment struct {
	ledger.Payment

	Paid  string `json:"paid,omitempty"`  // such as "5.00 USD"
	Asked string `json:"asked,omitempty"` // if another amount or currency was paid
}

// Listed is a purchase in a list, with its last payment. The session's id may open the purchase, so it is left out.
type Listed struct {
	PaidAt     time.Time     `json:"paid_at"`
	Status     ledger.Status `json:"status"`
	EndsAt     time.Time     `json:"ends_at,omitzero"`
	Paid       string        `json:"paid,omitempty"`
	Asked      string        `json:"asked,omitempty"`
	Source     ledger.Source `json:"source"`
	Payments   int           `json:"payments"`
	Site       string        `json:"site"`
	Pass       string        `json:"pass"`
	Resource   string        `json:"resource"`
	Reference  string        `json:"reference"`
	PaymentIDs []string      `json:"payment_ids,omitempty"`
}

// describe adds what operators want to know of a purchase.
func describe(found ledger.Details, now time.Time) Purchase {
	found.Status = found.StatusAt(now)
	described := Purchase{Reference: ledger.Reference(found.ID), Details: found}
	for _, p := range found.Payments {
		payment := Payment{Payment: p}
		switch {
		case p.Source != ledger.FromAxra: // it was given
		case p.Paid.Currency == "":
			payment.Paid = p.PaidRaw // as the event states it
		default:
			payment.Paid = p.Paid.String()
		}
		if p.Mismatch && p.Terms.Price.Currency != "" {
			payment.Asked = p.Terms.Price.String()
		}
		described.Payments = append(described.Payments, payment)
	}
	return described
}

func (a *API) list(ctx context.Context, r ListRequest) ([]Listed, error) {
	filter := ledger.Filter{
		Site: r.Site, Product: r.Pass, Status: ledger.Status(r.Status), Query: strings.TrimSpace(r.Search), Limit: r.Limit,
	}
	statuses := []ledger.Status{ledger.Active, ledger.Expired, ledger.Refunded, ledger.Disputed, ledger.Revoked, ledger.Mismatched}
	var err error
	switch filter.From, filter.To, err = parseSpan(r.From, r.To); {
	case err != nil:
	case r.Status != "" && !slices.Contains(statuses, filter.Status):
		err = fmt.Errorf("%.40q is no status: write one of %v", r.Status, statuses)
	case r.Site != "" && (!strings.Contains(r.Site, "://") || strings.HasSuffix(r.Site, "/")):
		err = fmt.Errorf("%.200q is no site: write its address without a path, such as https://example.com", r.Site)
	case r.Limit < 1 || r.Limit > maxListed:
		err = fmt.Errorf("the limit is a number of purchases from 1 to %d: choose by time, or use export", maxListed)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%w", err)
	}
	all, err := a.Ledger.List(ctx, filter)
	list := []Listed{}
	for _, found := range all {
		p := describe(ledger.Details{Purchase: found.Purchase, Payments: []ledger.Payment{found.LastPayment}}, a.Now())
		last := p.Payments[0]
		list = append(list, Listed{
			PaidAt: last.PaidAt, Status: p.Status, EndsAt: p.EndsAt, Paid: last.Paid, Asked: last.Asked, Source: last.Source,
			Payments: found.Payments, Site: p.Site, Pass: p.Product, Resource: p.Resource, Reference: p.Reference, PaymentIDs: last.PaymentIDs,
		})
	}
	return list, err
}

// parseSpan reads the two ends of a span of time; it contains the first, not the second.
func parseSpan(first, last string) (from, to time.Time, err error) {
	from, fromErr := parseTime(first)
	to, toErr := parseTime(last)
	err = errors.Join(fromErr, toErr)
	if err == nil && !to.IsZero() && !from.Before(to) {
		err = fmt.Errorf("nothing lies from %.40q to %.40q: the first must be the earlier one", first, last)
	}
	return from, to, err
}

// parseTime reads a time, or the beginning of a day or a month in UTC. An empty text is the zero time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write 2026-01-31, 2026-01 or 2026-01-31T12:00:00Z", text)
}

// find returns the id of the purchase that an operator names.
func (a *API) find(ctx context.Context, name string) (id string, err error) {
	var found []ledger.Listed
	if strings.TrimSpace(name) != "" {
		if found, err = a.Ledger.List(ctx, ledger.Filter{Query: name, Limit: 10}); err != nil {
			return "", err
		}
	}
	var ids []string
	for _, listed := range found {
		ids = append(ids, listed.ID)
	}
	switch len(ids) {
	case 0:
		return "", refuse(http.StatusNotFound, "no such purchase: give its reference, or the full id of a session or a payment")
	case 1:
		return ids[0], nil
	}
	return "", refuse(http.StatusConflict, "that could mean several purchases: %s", strings.Join(ids, ", "))
}

func (a *API) show(ctx context.Context, request PurchaseRequest) (Purchase, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Purchase{}, err
	}
	found, err := a.Ledger.Details(ctx, id)
	return describe(found, a.Now()), err
}

// decide revokes or restores a purchase.
func decide(decision ledger.DecisionKind) func(*API, context.Context, DecideRequest) (Purchase, error) {
	return func(a *API, ctx context.Context, request DecideRequest) (Purchase, error) {
		id, err := a.find(ctx, request.ID)
		if err != nil {
			return Purchase{}, err
		}
		purchase, err := a.Ledger.Decide(ctx, id, decision, request.Note)
		if status := purchase.StatusAt(a.Now()); err == nil && decision == ledger.Restore && status != ledger.Active && status != ledger.Expired {
			return Purchase{}, refuse(http.StatusConflict, "the purchase stays %s, which no operator undoes", status)
		}
		return describe(ledger.Details{Purchase: purchase}, a.Now()), err
	}
}

// removeDevice ends the use of a purchase on one device, so that another can be added.
func (a *API) removeDevice(ctx context.Context, request RemoveDeviceRequest) (Purchase, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Purchase{}, err
	}
	if err := a.Ledger.RemoveDevice(ctx, id, request.Device); err != nil {
		return Purchase{}, fmt.Errorf("no device was removed, see caddy axra show: %w", err)
	}
	return a.show(ctx, PurchaseRequest{ID: id})
}
