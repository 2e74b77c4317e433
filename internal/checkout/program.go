package checkout

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/response"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
)

// paymentProblem is what programs get that have not paid: problem details (RFC 9457).
type paymentProblem struct {
	response.ProblemDetails
	*programQuote                // the first pass on sale
	Passes        []programQuote `json:"passes,omitempty"`
	StatusURL     string         `json:"statusUrl,omitempty"` // where a program asks for the state of its checkout
}

// paymentProblemType identifies it (RFC 9457, section 3.1.1).
const paymentProblemType = "https://github.com/caddy-axra/paywall/blob/main/docs/programs.md#payment-required"

// programQuote is a quote for programs.
type programQuote struct {
	Pass        string      `json:"pass"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	Description string      `json:"description,omitempty"`
	Access      int64       `json:"access,omitempty"` // in seconds; absent for access without an end
	Checkout    string      `json:"checkout"`         // where to POST for a checkout session
}

const howToBuy = "This resource is paid. Open its address in a browser to buy access; or, from a program, POST to the address in " +
	"\"checkout\", have the checkoutUrl paid, ask statusUrl for the access token and send that as a bearer token."

// paymentRequired writes 402 and what is on sale, and creates nothing.
func (v *Visit) paymentRequired(detail string) error {
	quotes, err := v.gate.Quotes(v.r)
	if err != nil {
		return v.showMisconfigured(err)
	}
	body := paymentProblem{ProblemDetails: response.NewProblem(paymentProblemType, http.StatusPaymentRequired, detail)}
	for _, quote := range quotes {
		body.Passes = append(body.Passes, programQuote{
			Pass: quote.Product.Name, Amount: quote.Price.Number(), Currency: quote.Price.Currency, Description: quote.Description,
			Access:   int64(max(0, quote.Product.Access.Length()) / time.Second),
			Checkout: v.site.Origin + urlpath.WithParams(v.target, urlpath.ParamCheckout, quote.Product.Name),
		})
	}
	if len(quotes) > 0 {
		body.programQuote, body.StatusURL = &body.Passes[0], v.statusURL()
	}
	v.w.Header().Set("WWW-Authenticate", `Bearer realm="paywall"`)
	return response.JSON(v.w, v.r, http.StatusPaymentRequired, response.ProblemType, body)
}

func (v *Visit) statusURL() string {
	return v.site.Origin + urlpath.WithParams(v.target, urlpath.ParamStatus, "1")
}

func (v *Visit) problem(status int, detail string) error {
	return response.Problem(v.w, v.r, status, detail, 0)
}

// programCheckout tells a program about the checkout that it has started.
type programCheckout struct {
	Session     string      `json:"session"`
	CheckoutURL string      `json:"checkoutUrl"`
	ExpiresAt   time.Time   `json:"expiresAt"`
	Pass        string      `json:"pass"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	// StatusURL tells whether it is paid: GET, with StatusToken as a bearer token.
	StatusURL   string `json:"statusUrl"`
	StatusToken string `json:"statusToken"`
}

// startForProgram creates a checkout session and returns its address, unless the program has access or a payment is on
// its way. A new purchase goes on from the end of the one that is open.
func (v *Visit) startForProgram() error {
	quotes, err := v.gate.Quotes(v.r)
	chosen := v.chosen(quotes)
	switch {
	case v.isFromAnotherSite():
		return v.problem(http.StatusForbidden, "Another site may not start a checkout in a visitor's browser.")
	case v.gate.CanonicalAddress(v.r) != nil:
		return v.problem(http.StatusBadRequest, "This is sold under another spelling of the address: GET redirects to it. Nothing was charged.")
	case err != nil || chosen == nil:
		return v.paymentRequired(howToBuy)
	}
	if decision, _ := v.gate.FindToken(v.r, v.site, chosen.Product.Name); decision == access.Unknown {
		return v.showSafe()
	}
	found := v.findPayments(v.openedBy(chosen.Product.Name))
	switch {
	case found.paid != nil, found.err == nil && found.expected != nil:
		return v.problem(http.StatusConflict,
			"This has been paid for, or a payment is on its way. Ask statusUrl for the access token. Nothing was charged now.")
	case found.err != nil:
		return v.showError(found.err)
	}
	pending, err := v.openCheckout(*chosen, found, true)
	switch {
	case errors.Is(err, errHasAccess):
		return v.problem(http.StatusConflict, "You have access to this already, and it cannot be extended now. Nothing was charged.")
	case err != nil:
		return v.showError(err)
	}
	statusToken, err := pending.Encode(v.tokens.Keys)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return response.JSON(v.w, v.r, http.StatusCreated, "application/json", programCheckout{
		Session: pending.Session, CheckoutURL: pending.CheckoutURL, ExpiresAt: pending.ExpiresAt.UTC(),
		Pass: chosen.Product.Name, Amount: chosen.Price.Number(), Currency: chosen.Price.Currency,
		StatusURL: v.statusURL(), StatusToken: statusToken,
	})
}

// programStatus is the state of a checkout.
type programStatus struct {
	// State is `waiting`, `processing`, `failed`, `unpaid` (the checkout has expired), `paid`, `expired` (access has
	// ended), `refunded`, `disputed`, `revoked` or `mismatched`.
	State string `json:"state"`
	// AccessToken opens the resource, as a bearer token, if State is paid.
	AccessToken string    `json:"accessToken,omitempty"`
	TokenType   string    `json:"tokenType,omitempty"`
	ExpiresAt   time.Time `json:"expiresAt,omitzero"` // end of the token
	Until       time.Time `json:"until,omitzero"`     // end of access; absent for access without an end
}

const (
	statePaid    = "paid" // the purchase opens the resource
	stateWaiting = "waiting"
)

// writeStatus tells only the program that started a checkout: its status token is the pending cookie's value. A program
// that sends an access token gets a new one, also if that has ended and the purchase was extended since.
func (v *Visit) writeStatus() error {
	scheme, raw, _ := strings.Cut(v.r.Header.Get("Authorization"), " ")
	raw = strings.TrimSpace(raw)
	pending, pendingErr := session.DecodePending(v.tokens.Keys, raw)
	known, knownErr := v.tokens.Cache.Verify(raw, v.site.Origin, v.now())
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
	case pendingErr == nil && v.scopes()[pending.Scope]:
		purchase, err := v.tokens.Cache.OfSession(v.r.Context(), pending.Session)
		return v.writePurchase(pending, purchase.Purchase, err)
	case (knownErr == nil || errors.Is(knownErr, token.ErrLapsed)) && v.gate.Product(known.Pass) != nil:
		purchase, err := v.tokens.Cache.Of(v.r.Context(), known.Purchase) // one that was sold and is not found is lost data
		return v.writePurchase(session.Pending{Device: known.Device}, purchase.Purchase, err)
	}
	v.w.Header().Set("WWW-Authenticate", `Bearer realm="paywall"`)
	return v.problem(http.StatusUnauthorized, "Send the statusToken, or the access token, of this resource as a bearer token.")
}

// stateOf returns the state of a checkout, or of a purchase without one; nothing if the ledger cannot tell.
func (v *Visit) stateOf(pending session.Pending, purchase ledger.Purchase, err error) string {
	switch status := purchase.StatusAt(v.now()); {
	case errors.Is(err, ledger.ErrNotFound) && pending.Session != "":
		return cmp.Or(string(v.services.Progress(pending)), stateWaiting)
	case err != nil:
		return ""
	case !v.opens(purchase):
		return string(ledger.Mismatched)
	case status != ledger.Active:
		return string(status)
	}
	return statePaid
}

// writePurchase tells the state of a purchase, and gives the token of one that is open. The error is that of its look-up.
func (v *Visit) writePurchase(pending session.Pending, purchase ledger.Purchase, err error) error {
	switch state := v.stateOf(pending, purchase, err); {
	case state == "":
		return v.showError(err)
	case state == stateWaiting && v.now().After(pending.ExpiresAt):
		return v.writeState("unpaid")
	case state != statePaid:
		return v.writeState(state)
	}
	var refused refusal
	err = v.deviceError(v.addDevice(purchase.ID, pending.Device), purchase)
	switch {
	case errors.As(err, &refused) && refused.Kind.Status() == http.StatusPaymentRequired: // closed since it was looked up
		return v.writeState(string(refused.Kind))
	case err != nil:
		return v.showError(err)
	}
	signed, issued, err := v.tokens.Keys.SignAccess(v.accessOf(purchase, pending.Device), v.tokens.Algorithm)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	v.services.Metrics.CountUsed(purchase.ID, issued.Pass)
	v.flow.logger.Debug("access token given to a program", zap.String("purchase", ledger.Reference(purchase.ID)))
	return response.JSON(v.w, v.r, http.StatusOK, "application/json", programStatus{
		State: statePaid, AccessToken: signed, TokenType: "Bearer", ExpiresAt: issued.Expires.UTC(), Until: issued.Until.UTC(),
	})
}

func (v *Visit) writeState(state string) error {
	return response.JSON(v.w, v.r, http.StatusOK, "application/json", programStatus{State: state})
}

// isPoll reports whether the waiting page's script asks about a checkout.
func (v *Visit) isPoll() bool {
	return v.r.Method == http.MethodGet && v.has(urlpath.ParamSession) && !acceptsHTML(v.r) &&
		strings.Contains(v.r.Header.Get("Accept"), "application/json")
}

// answerPoll tells the waiting page's script the state of a checkout that this browser started.
func (v *Visit) answerPoll() error {
	pending := v.returnedTo(v.readPending().here)
	if pending == nil {
		return v.writeState("unknown")
	}
	purchase, err := v.tokens.Cache.OfSession(v.r.Context(), pending.Session)
	return v.writeState(cmp.Or(v.stateOf(*pending, purchase.Purchase, err), stateWaiting))
}
