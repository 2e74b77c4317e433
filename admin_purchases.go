package paywall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// purchaseInfo is a purchase as the admin API tells it.
type purchaseInfo struct {
	ID       string        `json:"id"`
	Site     string        `json:"site"`
	Pass     string        `json:"pass"`
	Resource string        `json:"resource"`
	Status   ledger.Status `json:"status"`
	StartsAt time.Time     `json:"starts_at"`
	EndsAt   *time.Time    `json:"ends_at"` // null: no expiry
}

func purchaseInfoOf(p ledger.Purchase) purchaseInfo {
	return purchaseInfo{
		ID: p.ID, Site: p.Site, Pass: p.Product, Resource: p.Resource, Status: p.StatusAt(now()),
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

// paymentInfo is a payment, or access that was given, as the admin API tells it.
type paymentInfo struct {
	Session    string            `json:"session,omitempty"` // a credential: only one purchase is shown with it
	PaymentIDs []string          `json:"payment_ids"`
	Source     ledger.Source     `json:"source"`
	PaidAt     time.Time         `json:"paid_at"`
	Amount     json.Number       `json:"amount,omitempty"` // none of what was given
	Currency   string            `json:"currency,omitempty"`
	Mismatch   bool              `json:"mismatch,omitempty"` // another amount or currency than asked
	Asked      *priceInfo        `json:"asked,omitempty"`    // the price, where another amount came
	Paid       string            `json:"paid,omitempty"`     // as the event states it, where no amount can be read
	Note       string            `json:"note,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

type priceInfo struct {
	Amount   json.Number `json:"amount"`
	Currency string      `json:"currency"`
}

func paymentInfoOf(p ledger.Payment) paymentInfo {
	info := paymentInfo{
		PaymentIDs: slices.Concat([]string{}, p.PaymentIDs), Source: p.Source, PaidAt: p.PaidAt.UTC(),
		Mismatch: p.Mismatch, Note: p.Note, Metadata: p.Metadata,
	}
	switch {
	case p.Source != ledger.FromAxra:
	case p.Paid.Currency == "":
		info.Paid = p.PaidRaw
	default:
		info.Amount, info.Currency = p.Paid.Number(), p.Paid.Currency
	}
	if p.Mismatch && p.Terms.Price.Currency != "" {
		info.Asked = &priceInfo{p.Terms.Price.Number(), p.Terms.Price.Currency}
	}
	return info
}

// listRequest chooses the purchases to list; nothing is any.
type listRequest struct {
	Site   string        `json:"site,omitempty"`
	Pass   string        `json:"pass,omitempty"`
	Status ledger.Status `json:"status,omitempty"`
	From   string        `json:"from,omitempty"` // of the last payment
	To     string        `json:"to,omitempty"`
	// Search is the beginning of a reference, a session id or a payment id.
	Search string `json:"search,omitempty"`
	// Limit is the number of purchases; 0: all.
	Limit int `json:"limit,omitempty"`
}

// filter is the request in the ledger's terms. It asks for one more, which tells whether there are more.
func (l listRequest) filter() (ledger.Filter, error) {
	filter := ledger.Filter{Site: l.Site, Product: l.Pass, Status: l.Status, Query: strings.TrimSpace(l.Search)}
	if err := errors.Join(checkOrigin(l.Site), checkStatus(l.Status)); err != nil {
		return filter, adminError(http.StatusBadRequest, err)
	}
	if l.Limit < 0 {
		return filter, adminError(http.StatusBadRequest, errors.New("the limit is a number of purchases, or 0 for all"))
	}
	if l.Limit > 0 {
		filter.Limit = l.Limit + 1
	}
	var err error
	filter.From, filter.To, err = parseSpan(l.From, l.To)
	return filter, err
}

// statuses are those that a purchase can have.
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

// listedInfo is a purchase in a list.
type listedInfo struct {
	purchaseInfo

	Payments    int         `json:"payments"`
	LastPayment paymentInfo `json:"last_payment"`
}

// listEnd is the last line of a list.
type listEnd struct {
	End   bool   `json:"end"`
	More  bool   `json:"more,omitempty"` // than the limit
	Error string `json:"error,omitempty"`
}

// adminPurchases lists purchases as JSON lines, the newest payment first. They are written as they are read, so
// that their number does not matter. The last line says how it ended.
func (a *App) adminPurchases(w http.ResponseWriter, r *http.Request) error {
	var asked listRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	filter, err := asked.filter()
	if err != nil {
		return err
	}
	a.withoutDeadline(w)
	w.Header().Set("Content-Type", "application/jsonl")
	out := json.NewEncoder(w)
	count := 0
	end := listEnd{End: true}
	for listed, err := range a.ledger.List(r.Context(), filter) {
		if err != nil && count == 0 {
			return ledgerError(err)
		}
		if err != nil {
			end.Error = err.Error()
			break
		}
		if asked.Limit > 0 && count == asked.Limit {
			end.More = true
			break
		}
		count++
		line := listedInfo{purchaseInfo: purchaseInfoOf(listed.Purchase), Payments: listed.Payments, LastPayment: paymentInfoOf(listed.LastPayment)}
		if err := out.Encode(line); err != nil {
			return nil // the client is gone
		}
	}
	return out.Encode(end)
}

// purchaseDetails is all that is known about one purchase.
type purchaseDetails struct {
	purchaseInfo

	Reference     string            `json:"reference"` // what the buyer sees
	Payments      []paymentInfo     `json:"payments"`
	DoubleCharges []string          `json:"double_charges"` // payment ids to refund
	Events        []eventInfo       `json:"events"`
	Decisions     []eventInfo       `json:"decisions"`
	Devices       []deviceInfo      `json:"devices"` // also those that were removed
	DeviceLimit   int               `json:"device_limit"`
	Claims        map[string]string `json:"claims,omitempty"` // claim or gift: the device that took it
	Downloads     int               `json:"downloads"`
	DownloadLimit int               `json:"download_limit,omitempty"` // 0: not limited
	// DownloadsUntil is the end of the window of downloads that was opened last.
	DownloadsUntil *time.Time `json:"downloads_until,omitempty"`
}

// eventInfo is one thing that happened to a purchase.
type eventInfo struct {
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`
	PaymentIDs []string  `json:"payment_ids,omitempty"`
	Note       string    `json:"note,omitempty"`
}

type deviceInfo struct {
	ID        string     `json:"id"`
	Label     string     `json:"label,omitempty"`
	AddedAt   time.Time  `json:"added_at"`
	RemovedAt *time.Time `json:"removed_at,omitempty"`
}

func (a *App) adminPurchase(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		ID string `json:"id"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	id, err := a.purchaseNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	details, err := a.ledger.Details(r.Context(), id)
	if err != nil {
		return ledgerError(err)
	}
	info := detailsInfoOf(details)
	if info.Reference, err = a.ledger.Reference(r.Context(), id); err != nil {
		return ledgerError(err)
	}
	return writeAdmin(w, info)
}

func detailsInfoOf(d ledger.Details) purchaseDetails {
	info := purchaseDetails{
		purchaseInfo: purchaseInfoOf(d.Purchase), Payments: []paymentInfo{}, DoubleCharges: slices.Concat([]string{}, d.DoubleCharges),
		Events: []eventInfo{}, Decisions: []eventInfo{}, Devices: []deviceInfo{}, DeviceLimit: d.DeviceLimit, Claims: make(map[string]string),
		Downloads: d.DownloadsUsed, DownloadLimit: d.DownloadLimit, DownloadsUntil: optionalTime(d.DownloadWindowEndsAt),
	}
	for _, payment := range d.Payments {
		shown := paymentInfoOf(payment)
		shown.Session = payment.SessionID
		info.Payments = append(info.Payments, shown)
	}
	for _, event := range d.Events {
		info.Events = append(info.Events, eventInfo{Kind: string(event.Kind), At: event.OccurredAt.UTC(), PaymentIDs: event.PaymentIDs})
	}
	for _, decision := range d.Decisions {
		info.Decisions = append(info.Decisions, eventInfo{Kind: string(decision.Kind), At: decision.DecidedAt.UTC(), Note: decision.Note})
	}
	for _, device := range d.Devices {
		info.Devices = append(info.Devices, deviceInfo{device.ID, device.Label, device.AddedAt.UTC(), optionalTime(device.RemovedAt)})
	}
	for kind, device := range d.Claims {
		info.Claims[string(kind)] = device
	}
	return info
}

// ambiguousError lists the purchases that a text could mean.
type ambiguousError struct{ ids []string }

// maxListed bounds the purchases that an ambiguousError lists.
const maxListed = 10

func (e *ambiguousError) Error() string {
	shown, rest := e.ids, ""
	if len(shown) > maxListed {
		shown, rest = shown[:maxListed], " and others"
	}
	return fmt.Sprintf("several purchases are meant: name one of %s%s", strings.Join(shown, ", "), rest)
}

// purchaseNamed is the purchase that an operator means: by the beginning of its id, a session or a payment.
func (a *App) purchaseNamed(ctx context.Context, text string) (string, error) {
	ids, err := a.ledger.Find(ctx, text)
	switch {
	case err != nil:
		return "", err
	case len(ids) == 0:
		return "", ledger.ErrNotFound
	case len(ids) > 1:
		return "", &ambiguousError{ids}
	}
	return ids[0], nil
}

func (a *App) adminRevoke(w http.ResponseWriter, r *http.Request) error {
	return a.adminDecide(w, r, ledger.Revoke)
}

func (a *App) adminRestore(w http.ResponseWriter, r *http.Request) error {
	return a.adminDecide(w, r, ledger.Restore)
}

func (a *App) adminDecide(w http.ResponseWriter, r *http.Request, decision ledger.DecisionKind) error {
	var asked struct {
		ID   string `json:"id"`
		Note string `json:"note"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := checkNote(asked.Note); err != nil {
		return err
	}
	id, err := a.purchaseNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	purchase, err := a.ledger.Decide(r.Context(), id, decision, asked.Note)
	switch {
	case errors.Is(err, ledger.ErrUnchanged):
		return adminError(http.StatusConflict, decidedAlready(decision, purchase.StatusAt(now())))
	case err != nil:
		return ledgerError(err)
	}
	a.logger.Info("purchase decided by the operator",
		zap.String("purchase", reference(id)), zap.String("pass", purchase.Product), zap.String("outcome", string(decision)))
	return writeAdmin(w, purchaseInfoOf(purchase))
}

// decidedAlready says why there was nothing to decide.
func decidedAlready(decision ledger.DecisionKind, status ledger.Status) error {
	switch {
	case decision == ledger.Revoke:
		return errors.New("it is revoked already")
	case status == ledger.Active:
		return errors.New("it is active already")
	}
	return fmt.Errorf("it was not revoked: it is %s, which cannot be restored; give access anew with caddy axra give", status)
}

// maxNote bounds a note in bytes.
const maxNote = 500

func checkNote(note string) error {
	if len(note) > maxNote {
		return adminError(http.StatusBadRequest, fmt.Errorf("a note has at most %d bytes", maxNote))
	}
	return nil
}

// adminRemoveDevice ends the use of a purchase on one device, and makes room for another.
func (a *App) adminRemoveDevice(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		ID     string `json:"id"`
		Device string `json:"device"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	id, err := a.purchaseNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	err = a.ledger.RemoveDevice(r.Context(), id, asked.Device)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return adminError(http.StatusNotFound, errors.New("the purchase has no such device: see caddy axra show"))
	case err != nil:
		return ledgerError(err)
	}
	a.logger.Info("device removed by the operator", zap.String("purchase", reference(id)))
	details, err := a.ledger.Details(r.Context(), id)
	if err != nil {
		return ledgerError(err)
	}
	return writeAdmin(w, detailsInfoOf(details))
}

// deviceAddress opens the purchase in another browser, at a page of the site.
func (a *App) deviceAddress(site site, purchase ledger.Holding, target string, expires time.Time) (string, error) {
	raw, err := a.keyring.Sign(token.Device, deviceClaims{
		RegisteredClaims: jwt.RegisteredClaims{IssuedAt: jwt.NewNumericDate(now()), ExpiresAt: jwt.NewNumericDate(expires)},
		Purchase:         purchase.ID, Pass: purchase.Product, Scope: deviceScope(site),
	})
	if err != nil {
		return "", err
	}
	return site.origin + urlpath.WithParams(target, urlpath.ParamDevice, raw), nil
}

func deviceScope(site site) string { return session.Scope(site.origin, "device", "") }
