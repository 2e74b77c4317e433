package paywall

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/page"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// problemType identifies our problem details (RFC 9457, section 3.1.1).
const problemType = "https://github.com/caddy-axra/paywall/blob/main/docs/programs.md#"

// problemDetails is what programs get that have not paid (RFC 9457).
type problemDetails struct {
	Type     string    `json:"type"`
	Title    string    `json:"title"`
	Status   int       `json:"status"`
	Detail   string    `json:"detail"`
	*forSale           // the first pass on sale
	Passes   []forSale `json:"passes,omitempty"`
	// StatusURL is where a program asks how its checkout stands.
	StatusURL string `json:"statusUrl,omitempty"`
}

// forSale is a pass on sale.
type forSale struct {
	Pass        string      `json:"pass"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	Description string      `json:"description,omitempty"`
	// Access is the length of access in seconds; absent for access without an end.
	Access int64 `json:"access,omitempty"`
	// Checkout is where to POST for a checkout session.
	Checkout string `json:"checkout"`
}

// howToBuy is what problem tells a program that has not paid.
const howToBuy = "This resource is paid. Open its address in a browser to buy access; or, from a program, POST to the address in " +
	"\"checkout\", have the checkoutUrl paid, ask statusUrl for the access token and send that as a bearer token."

// linkEnded is what it tells one that comes by a private address which opens nothing.
const linkEnded = "This private address has ended. Who has paid finds a fresh one on the receipt, in the browser that paid: " +
	"the page with ?axra_receipt. Nothing was charged."

// problem answers 402 and creates nothing.
func (v *visit) problem(offers []offered, detail string) error {
	body := problemDetails{
		Type: problemType + "payment-required", Title: http.StatusText(http.StatusPaymentRequired), Status: http.StatusPaymentRequired,
		Detail: detail,
	}
	for _, o := range offers {
		each := forSale{
			Pass: o.pass, Amount: o.price.Number(), Currency: o.price.Currency, Description: o.description,
			Checkout: v.site.origin + urlpath.WithParams(v.target, urlpath.ParamCheckout, o.pass),
		}
		if length := o.access.Length(); length > 0 {
			each.Access = int64(length / time.Second)
		}
		body.Passes = append(body.Passes, each)
	}
	if len(body.Passes) > 0 {
		body.forSale = &body.Passes[0]
		body.StatusURL = v.statusURL()
	}
	v.w.Header().Set("WWW-Authenticate", `Bearer realm="paywall"`)
	return sendJSON(v.w, v.r, http.StatusPaymentRequired, "application/problem+json", body)
}

func (v *visit) statusURL() string {
	return v.site.origin + urlpath.WithParams(v.target, urlpath.ParamStatus, "1")
}

// plainly is what a program is told in place of a page.
var plainly = map[page.Kind]struct {
	status int
	detail string
}{
	page.BadAddress:    {http.StatusBadRequest, "The address can be read in more than one way, so it was refused."},
	page.TooLong:       {http.StatusRequestURITooLong, "The request is too long to be paid for. Nothing was charged."},
	page.TooMany:       {http.StatusTooManyRequests, "Too many checkouts were started. Nothing was charged."},
	page.Misconfigured: {http.StatusInternalServerError, "The site's paywall is not set up properly. Nothing was charged."},
	page.DeviceFull:    {http.StatusForbidden, "The purchase is in use on as many devices as it allows. Nothing was charged."},
	page.DeviceRefused: {http.StatusForbidden, "This device was removed from the purchase, or the purchase is closed. Nothing was charged."},
	page.Unavailable:   {http.StatusServiceUnavailable, "The payment provider cannot be reached. Nothing was charged."},
	page.PaymentSafe:   {http.StatusServiceUnavailable, "The records cannot be read right now. A payment that was made is safe; do not pay again."},
}

// sendProblem answers a program in place of a page.
func sendProblem(w http.ResponseWriter, r *http.Request, status int, detail string, retryAfter time.Duration) error {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	return sendJSON(w, r, status, "application/problem+json", problemDetails{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail,
	})
}

func (v *visit) sendProblem(status int, detail string) error {
	return sendProblem(v.w, v.r, status, detail, 0)
}

// isForPrograms reports whether a program speaks to the gate itself.
func isForPrograms(r *http.Request) bool {
	query := originalURL(r).RawQuery
	if !strings.Contains(query, "axra_") {
		return false
	}
	switch r.Method {
	case http.MethodPost:
		return !acceptsHTML(r) && urlpath.Params(query).Has(urlpath.ParamCheckout) // a person's form is answered as a navigation is
	case http.MethodGet:
		return urlpath.Params(query).Has(urlpath.ParamStatus)
	}
	return false
}

func (v *visit) answerProgram() error {
	if v.r.Method == http.MethodPost {
		return v.startForProgram()
	}
	return v.tellStatus()
}

// programCheckout is the answer to a program that wants to buy.
type programCheckout struct {
	Session     string      `json:"session"`
	CheckoutURL string      `json:"checkoutUrl"`
	ExpiresAt   time.Time   `json:"expiresAt"`
	Pass        string      `json:"pass"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	// StatusURL and StatusToken are how to ask whether it is paid: GET with the
	// token as a bearer token.
	StatusURL   string `json:"statusUrl"`
	StatusToken string `json:"statusToken"`
}

// startForProgram opens a checkout session and tells its address.
func (v *visit) startForProgram() error {
	if v.isFromAnotherSite() {
		return v.sendProblem(http.StatusForbidden, "Another site may not start a checkout in a visitor's browser.")
	}
	if v.canonicalAddress() != nil {
		return v.sendProblem(http.StatusBadRequest, "This is sold under another spelling of the address: GET redirects to it. Nothing was charged.")
	}
	offers, err := v.onSale()
	if err != nil {
		return v.misconfigured(err)
	}
	chosen := v.chosen(offers)
	if chosen == nil {
		return v.problem(offers, howToBuy) // which says which passes there are
	}
	v.pending, v.forProgram = v.readPending(v.r, v.site), true
	if verdict, _ := v.decide(v.r, v.site, []string{chosen.pass}); verdict == access.Unknown {
		return v.showSafe()
	}
	if v.prolonged() != nil {
		return v.sendProblem(http.StatusConflict, "You have access to this already: ask statusUrl for a new access token. Nothing was charged.")
	}
	known := v.openBy(chosen.pass)
	if answered, err := v.owedTo(known); answered {
		return err
	}
	if known != nil {
		// Buying again goes on from the end of what is open.
		if v.extends, err = v.extendable(known); err != nil {
			return v.unreadable(err)
		}
		v.device = known.Device
		if v.extends == nil && known.DownloadLimit() == 0 {
			return v.sendProblem(http.StatusConflict, "You have access to this already, and there is no more time to be had for it now. Nothing was charged.")
		}
	}
	entry := v.reusable(*chosen)
	if entry == nil {
		started, refusal, err := v.start(*chosen)
		if err != nil {
			return err
		}
		if refusal != nil {
			return v.showView(*refusal)
		}
		entry = &started
	}
	statusToken, err := entry.Encode(v.app.keyring)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return sendJSON(v.w, v.r, http.StatusCreated, "application/json", programCheckout{
		Session: entry.Session, CheckoutURL: entry.CheckoutURL, ExpiresAt: entry.ExpiresAt.UTC(),
		Pass: chosen.pass, Amount: chosen.price.Number(), Currency: chosen.price.Currency,
		StatusURL: v.statusURL(), StatusToken: statusToken,
	})
}

// owedTo tells a program, before a checkout is started, of what it has paid for already, or
// of a payment that is on its way.
func (v *visit) owedTo(known *access.Token) (answered bool, err error) {
	v.pending.without(known)
	paid, _ := v.lookUp()
	switch {
	case paid != nil:
		return true, v.sendProblem(http.StatusConflict, "This has been paid for. Ask statusUrl for the access token. Nothing was charged now.")
	case v.found.err != nil:
		return true, v.unreadable(v.found.err)
	case v.onItsWay() != nil:
		return true, v.sendProblem(http.StatusConflict, "A payment is on its way. Ask statusUrl how it stands. Nothing was charged now.")
	}
	return false, nil
}

// programStatus is how a checkout stands.
type programStatus struct {
	// State is `waiting`, `processing`, `failed`, `unpaid` (the checkout has expired),
	// `paid`, `expired` (access has ended), `refunded`, `disputed`, `revoked` or
	// `mismatched`.
	State string `json:"state"`
	// AccessToken opens the resource, as a bearer token, when State is paid.
	AccessToken string `json:"accessToken,omitempty"`
	TokenType   string `json:"tokenType,omitempty"`
	// ExpiresAt is the end of the token.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Until is the end of access; absent for access without an end.
	Until *time.Time `json:"until,omitempty"`
}

// tellStatus answers the program that started a checkout, and nobody else: its
// status token is the pending cookie's value. An access token asks for a new one in
// its place.
func (v *visit) tellStatus() error {
	raw, ok := bearer(v.r)
	if !ok {
		return v.wantToken("", "Send the statusToken of the checkout as a bearer token.")
	}
	if entry, err := session.DecodePending(v.app.keyring, raw); err == nil && v.scopes(v.r, v.site)[entry.Scope] != nil {
		purchase, err := v.app.access.OfSession(v.r.Context(), entry.Session)
		return v.tellPurchase(purchase, err, entry.Device, func() string { return v.unpaidState(entry) })
	}
	if known, err := v.app.access.Verify(raw, v.site.origin, now()); err == nil && v.saleOf(known.Pass) != nil && v.app.judge(v.r.Context(), known, now()) != access.None {
		purchase, err := v.app.access.Of(v.r.Context(), known.Purchase)
		if errors.Is(err, ledger.ErrNotFound) {
			return v.unreadable(err) // it was sold: its data are lost
		}
		return v.tellPurchase(purchase, err, known.Device, nil)
	}
	if ended, err := v.app.access.Verify(raw, v.site.origin, now()); errors.Is(err, token.ErrLapsed) && v.saleOf(ended.Pass) != nil {
		// Extended on another device since.
		if v.prolong(ended.Access) != nil || v.found.err != nil {
			purchase, err := v.app.access.Of(v.r.Context(), ended.Purchase)
			if errors.Is(err, ledger.ErrNotFound) {
				return v.unreadable(err)
			}
			return v.tellPurchase(purchase, err, ended.Device, nil)
		}
	}
	return v.wantToken(`, error="invalid_token"`, "This token is not valid for this resource.")
}

func (v *visit) wantToken(reason, detail string) error {
	v.w.Header().Set("WWW-Authenticate", `Bearer realm="paywall"`+reason)
	return v.sendProblem(http.StatusUnauthorized, detail)
}

// tellPurchase says how a purchase stands, and gives the token of one that is open.
func (v *visit) tellPurchase(purchase ledger.Holding, err error, deviceID string, unpaid func() string) error {
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return v.sendStatus(programStatus{State: unpaid()})
	case err != nil:
		return v.unreadable(err)
	case !v.opens(purchase):
		return v.sendStatus(programStatus{State: "mismatched"})
	}
	if status := purchase.StatusAt(now()); status != ledger.Active {
		return v.sendStatus(programStatus{State: string(status)})
	}
	switch err := v.app.ledger.AddDevice(v.r.Context(), purchase.ID, ledger.Device{ID: deviceID, Label: deviceLabel(v.r)}); {
	case errors.Is(err, ledger.ErrInactive): // since it was read
		purchase, err := v.app.access.Of(v.r.Context(), purchase.ID)
		if err != nil || purchase.StatusAt(now()) == ledger.Active {
			return v.unreadable(err)
		}
		return v.sendStatus(programStatus{State: string(purchase.StatusAt(now()))})
	case errors.Is(err, ledger.ErrUnavailable):
		return v.unreadable(err)
	case errors.Is(err, ledger.ErrNoneLeft):
		countLimit(limitDevices)
		return v.sendProblem(http.StatusForbidden, plainly[page.DeviceFull].detail)
	case err != nil:
		return v.sendProblem(http.StatusForbidden, plainly[page.DeviceRefused].detail)
	}
	granted := v.accessOf(purchase)
	granted.Device = deviceID
	signed, granted, err := v.app.keyring.SignAccess(granted, v.app.SigningAlgorithm)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	v.app.countUsed(purchase.ID, granted.Pass)
	v.logger.Debug("access token given to a program", zap.String("purchase", reference(purchase.ID)))
	status := programStatus{State: "paid", AccessToken: signed, TokenType: "Bearer", ExpiresAt: &granted.Expires}
	if !granted.Until.IsZero() {
		status.Until = &granted.Until
	}
	return v.sendStatus(status)
}

func (v *visit) sendStatus(status programStatus) error {
	for _, at := range []*time.Time{status.ExpiresAt, status.Until} {
		if at != nil {
			*at = at.UTC()
		}
	}
	return sendJSON(v.w, v.r, http.StatusOK, "application/json", status)
}

// unpaidState is what is known of a checkout for which no payment has come.
func (v *visit) unpaidState(entry session.Pending) string {
	if stage := v.app.stageOf(entry); stage != "" {
		return string(stage)
	}
	if now().After(entry.ExpiresAt) {
		return "unpaid"
	}
	return "waiting"
}

func bearer(r *http.Request) (string, bool) {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	credentials = strings.TrimSpace(credentials)
	return credentials, strings.EqualFold(scheme, "Bearer") && credentials != ""
}
