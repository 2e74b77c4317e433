package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

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
	Limit  int    `json:"limit,omitempty" help:"At most so many; 0 for all" default:"50"`
}

// Purchase is a purchase without its payments.
type Purchase struct {
	Reference string `json:"reference"` // what the buyer sees
	ledger.Purchase
}

// Payment is a payment, or access that was given.
type Payment struct {
	ledger.Payment

	Paid  string `json:"paid,omitempty"`  // such as "5.00 USD"
	Asked string `json:"asked,omitempty"` // if another amount or currency was paid
}

// Listed is a purchase in a list, with its last payment.
type Listed struct {
	Purchase
	Payment

	Payments int `json:"payments"`
}

// Details is all that is known about one purchase.
type Details struct {
	Reference string `json:"reference"`
	ledger.Details

	Payments []Payment `json:"payments"`
}

// listPurchases writes purchases as they are read, so their number does not matter.
func (a *API) listPurchases(w http.ResponseWriter, r *http.Request) error {
	var request ListRequest
	if err := readRequest(w, r, &request); err != nil {
		return err
	}
	filter, err := filterOf(request)
	if err != nil {
		return refuse(http.StatusBadRequest, "%w", err)
	}
	return a.stream(w, "application/jsonl", func(out io.Writer) error {
		lines := json.NewEncoder(out)
		for listed, err := range a.Ledger.List(r.Context(), filter) {
			if err != nil {
				return err
			}
			listed.LastPayment.SessionID = "" // whoever has it may be able to open the purchase
			line := Listed{Purchase: a.purchaseOf(listed.Purchase), Payment: paymentOf(listed.LastPayment), Payments: listed.Payments}
			if err := lines.Encode(line); err != nil {
				return err
			}
		}
		return nil
	})
}

// filterOf translates a request for the ledger.
func filterOf(r ListRequest) (filter ledger.Filter, err error) {
	filter = ledger.Filter{
		Site: r.Site, Product: r.Pass, Status: ledger.Status(r.Status), Query: strings.TrimSpace(r.Search), Limit: r.Limit,
	}
	statuses := []ledger.Status{"", ledger.Active, ledger.Expired, ledger.Refunded, ledger.Disputed, ledger.Revoked, ledger.Mismatched}
	switch {
	case !slices.Contains(statuses, filter.Status):
		return filter, fmt.Errorf("%.40q is no status: write active, expired, refunded, disputed, revoked or mismatched", r.Status)
	case r.Site != "" && (!strings.Contains(r.Site, "://") || strings.HasSuffix(r.Site, "/")):
		return filter, fmt.Errorf("%.200q is no site: write its address without a path, such as https://example.com", r.Site)
	case r.Limit < 0:
		return filter, errors.New("the limit is a number of purchases, or 0 for all")
	}
	filter.From, filter.To, err = parseSpan(r.From, r.To)
	return filter, err
}

// parseSpan reads the two ends of a span of time; it contains the first, not the second.
func parseSpan(first, last string) (from, to time.Time, err error) {
	from, fromErr := parseTime(first)
	to, toErr := parseTime(last)
	if err := errors.Join(fromErr, toErr); err != nil {
		return from, to, err
	}
	if !to.IsZero() && !from.Before(to) {
		return from, to, fmt.Errorf("nothing lies from %.40q to %.40q: the first must be the earlier one", first, last)
	}
	return from, to, nil
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
	var ids []string
	if strings.TrimSpace(name) != "" {
		for listed, err := range a.Ledger.List(ctx, ledger.Filter{Query: name, Limit: 10}) {
			if err != nil {
				return "", err
			}
			ids = append(ids, listed.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", ledger.ErrNotFound
	case 1:
		return ids[0], nil
	}
	return "", refuse(http.StatusConflict, "that could mean several purchases: %s", strings.Join(ids, ", "))
}

func (a *API) showPurchase(ctx context.Context, request PurchaseRequest) (Details, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Details{}, err
	}
	found, err := a.Ledger.Details(ctx, id)
	if err != nil {
		return Details{}, err
	}
	found.Status = found.StatusAt(a.Now())
	details := Details{Reference: ledger.Reference(id), Details: found}
	for _, payment := range found.Payments {
		details.Payments = append(details.Payments, paymentOf(payment))
	}
	return details, nil
}

// decide revokes or restores a purchase.
func decide(decision ledger.DecisionKind) func(*API, context.Context, DecideRequest) (Purchase, error) {
	return func(a *API, ctx context.Context, request DecideRequest) (Purchase, error) {
		id, err := a.find(ctx, request.ID)
		if err != nil {
			return Purchase{}, err
		}
		purchase, err := a.Ledger.Decide(ctx, id, decision, request.Note)
		if err != nil {
			return Purchase{}, err
		}
		a.Logger.Info("purchase decided by the operator",
			zap.String("purchase", ledger.Reference(id)), zap.String("pass", purchase.Product), zap.String("outcome", string(decision)))
		return a.purchaseOf(purchase), nil
	}
}

// removeDevice ends the use of a purchase on one device, so that another can be added.
func (a *API) removeDevice(ctx context.Context, request RemoveDeviceRequest) (Details, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Details{}, err
	}
	err = a.Ledger.RemoveDevice(ctx, id, request.Device)
	if errors.Is(err, ledger.ErrNotFound) {
		return Details{}, refuse(http.StatusNotFound, "the purchase has no such device: see caddy axra show")
	}
	if err != nil {
		return Details{}, err
	}
	a.Logger.Info("device removed by the operator", zap.String("purchase", ledger.Reference(id)))
	return a.showPurchase(ctx, PurchaseRequest{ID: id})
}

func (a *API) purchaseOf(p ledger.Purchase) Purchase {
	p.Status = p.StatusAt(a.Now())
	return Purchase{Reference: ledger.Reference(p.ID), Purchase: p}
}

func paymentOf(p ledger.Payment) Payment {
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
	return payment
}
