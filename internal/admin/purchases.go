package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
)

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
	w.Header().Set("Content-Type", "application/jsonl")
	out := json.NewEncoder(w)
	count := 0
	end := ListEnd{End: true}
	for listed, err := range a.Ledger.List(r.Context(), filter) {
		if err != nil && count == 0 {
			return err
		}
		if err != nil {
			end.Error = err.Error()
			break
		}
		if request.Limit > 0 && count == request.Limit {
			end.More = true
			break
		}
		count++
		line := Listed{Purchase: a.purchaseOf(listed.Purchase), Payments: listed.Payments, LastPayment: paymentOf(listed.LastPayment)}
		if err := out.Encode(line); err != nil {
			return nil // the client is gone
		}
	}
	return out.Encode(end)
}

// filterOf translates a request for the ledger. It asks for one more purchase, which tells whether there are more.
func filterOf(r ListRequest) (ledger.Filter, error) {
	filter := ledger.Filter{Site: r.Site, Product: r.Pass, Status: r.Status, Query: strings.TrimSpace(r.Search)}
	if err := errors.Join(checkOrigin(r.Site), checkStatus(r.Status)); err != nil {
		return filter, err
	}
	if r.Limit < 0 {
		return filter, errors.New("the limit is a number of purchases, or 0 for all")
	}
	if r.Limit > 0 {
		filter.Limit = r.Limit + 1
	}
	var err error
	filter.From, filter.To, err = parseSpan(r.From, r.To)
	return filter, err
}

// checkOrigin refuses what is no site's address, as nothing was ever sold there. An empty one means any site.
func checkOrigin(site string) error {
	if site == "" {
		return nil
	}
	parsed, err := url.Parse(site)
	isAddress := err == nil && parsed.Host != "" && (parsed.Scheme == "https" || parsed.Scheme == "http")
	if !isAddress || site != parsed.Scheme+"://"+parsed.Host || strings.ToLower(site) != site {
		return fmt.Errorf("%.200q is no site: write its address in lower case and without a path, such as https://example.com", site)
	}
	return nil
}

var statuses = []ledger.Status{ledger.Active, ledger.Expired, ledger.Refunded, ledger.Disputed, ledger.Revoked, ledger.Mismatched}

func checkStatus(status ledger.Status) error {
	if status == "" || slices.Contains(statuses, status) {
		return nil
	}
	names := make([]string, len(statuses))
	for i, each := range statuses {
		names[i] = string(each)
	}
	return fmt.Errorf("%.40q is no status: write one of %s", status, strings.Join(names, ", "))
}

// parseSpan reads the two ends of a span of time; it contains the first, not the second.
func parseSpan(first, last string) (from, to time.Time, err error) {
	if from, err = parseTime(first); err != nil {
		return from, to, err
	}
	if to, err = parseTime(last); err != nil {
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
	ids, err := a.Ledger.Find(ctx, name)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", ledger.ErrNotFound
	case len(ids) == 1:
		return ids[0], nil
	}
	const most = 10
	shown := strings.Join(ids[:min(most, len(ids))], ", ")
	if len(ids) > most {
		shown += " and others"
	}
	return "", refuse(http.StatusConflict, "that could mean several purchases: name one of %s", shown)
}

func (a *API) showPurchase(ctx context.Context, request PurchaseRequest) (Details, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Details{}, err
	}
	return a.details(ctx, id)
}

func (a *API) details(ctx context.Context, id string) (Details, error) {
	found, err := a.Ledger.Details(ctx, id)
	if err != nil {
		return Details{}, err
	}
	details := a.detailsOf(found)
	details.Reference, err = a.Ledger.Reference(ctx, id)
	return details, err
}

func (a *API) revoke(ctx context.Context, request DecideRequest) (Purchase, error) {
	return a.decide(ctx, request, ledger.Revoke)
}

func (a *API) restore(ctx context.Context, request DecideRequest) (Purchase, error) {
	return a.decide(ctx, request, ledger.Restore)
}

func (a *API) decide(ctx context.Context, request DecideRequest, decision ledger.DecisionKind) (Purchase, error) {
	if err := checkNote(request.Note); err != nil {
		return Purchase{}, err
	}
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Purchase{}, err
	}
	purchase, err := a.Ledger.Decide(ctx, id, decision, request.Note)
	switch {
	case errors.Is(err, ledger.ErrUnchanged):
		return Purchase{}, unchanged(decision, purchase.StatusAt(a.Now()))
	case err != nil:
		return Purchase{}, err
	}
	a.Logger.Info("purchase decided by the operator",
		zap.String("purchase", Reference(id)), zap.String("pass", purchase.Product), zap.String("outcome", string(decision)))
	return a.purchaseOf(purchase), nil
}

// unchanged says why there was nothing to decide.
func unchanged(decision ledger.DecisionKind, status ledger.Status) error {
	switch {
	case decision == ledger.Revoke:
		return refuse(http.StatusConflict, "it is revoked already")
	case status == ledger.Active:
		return refuse(http.StatusConflict, "it is active already")
	}
	return refuse(http.StatusConflict, "it was not revoked: it is %s, which cannot be restored; give access anew with caddy axra give", status)
}

// maxNote bounds a note in bytes.
const maxNote = 500

func checkNote(note string) error {
	if len(note) > maxNote {
		return refuse(http.StatusBadRequest, "a note has at most %d bytes", maxNote)
	}
	return nil
}

// removeDevice ends the use of a purchase on one device, which makes room for another.
func (a *API) removeDevice(ctx context.Context, request RemoveDeviceRequest) (Details, error) {
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Details{}, err
	}
	err = a.Ledger.RemoveDevice(ctx, id, request.Device)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return Details{}, refuse(http.StatusNotFound, "the purchase has no such device: see caddy axra show")
	case err != nil:
		return Details{}, err
	}
	a.Logger.Info("device removed by the operator", zap.String("purchase", Reference(id)))
	return a.details(ctx, id)
}

func (a *API) purchaseOf(p ledger.Purchase) Purchase {
	return Purchase{
		ID: p.ID, Site: p.Site, Pass: p.Product, Resource: p.Resource, Status: p.StatusAt(a.Now()),
		StartsAt: p.StartsAt.UTC(), EndsAt: optionalTime(p.EndsAt),
	}
}

// optionalTime is nil for the zero time.
func optionalTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	utc := at.UTC()
	return &utc
}

func paymentOf(p ledger.Payment) Payment {
	payment := Payment{
		PaymentIDs: slices.Concat([]string{}, p.PaymentIDs), Source: p.Source, PaidAt: p.PaidAt.UTC(),
		Mismatch: p.Mismatch, Note: p.Note, Metadata: p.Metadata,
	}
	switch {
	case p.Source != ledger.FromAxra:
	case p.Paid.Currency == "":
		payment.Paid = p.PaidRaw
	default:
		payment.Amount, payment.Currency = p.Paid.Number(), p.Paid.Currency
	}
	if p.Mismatch && p.Terms.Price.Currency != "" {
		payment.Asked = &Price{p.Terms.Price.Number(), p.Terms.Price.Currency}
	}
	return payment
}

func (a *API) detailsOf(d ledger.Details) Details {
	details := Details{
		Purchase: a.purchaseOf(d.Purchase), Payments: []Payment{}, DoubleCharges: slices.Concat([]string{}, d.DoubleCharges),
		Events: []Event{}, Decisions: []Event{}, Devices: []Device{}, DeviceLimit: d.DeviceLimit, Claims: make(map[string]string),
		Downloads: d.DownloadsUsed, DownloadLimit: d.DownloadLimit, DownloadsUntil: optionalTime(d.DownloadWindowEndsAt),
	}
	for _, p := range d.Payments {
		payment := paymentOf(p)
		payment.Session = p.SessionID
		details.Payments = append(details.Payments, payment)
	}
	for _, event := range d.Events {
		details.Events = append(details.Events, Event{Kind: string(event.Kind), At: event.OccurredAt.UTC(), PaymentIDs: event.PaymentIDs})
	}
	for _, decision := range d.Decisions {
		details.Decisions = append(details.Decisions, Event{Kind: string(decision.Kind), At: decision.DecidedAt.UTC(), Note: decision.Note})
	}
	for _, device := range d.Devices {
		details.Devices = append(details.Devices, Device{device.ID, device.Label, device.AddedAt.UTC(), optionalTime(device.RemovedAt)})
	}
	for kind, device := range d.Claims {
		details.Claims[string(kind)] = device
	}
	return details
}
