package session

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// maxCheckoutURL bounds the checkout URL in bytes.
const maxCheckoutURL = 2048

// Order is what Create asks for.
type Order struct {
	Terms         terms.Terms
	SuccessURL    string // holds {SESSION_ID}
	CancelURL     string
	Description   string
	CustomerEmail string
	ExpiresIn     time.Duration // at least MinExpiresIn
	Metadata      map[string]string
}

// Checkout is a session that Axra opened.
type Checkout struct {
	Session   string
	URL       string
	ExpiresAt time.Time
}

// createAnswer is the answer to the create call.
type createAnswer struct {
	SessionID   string       `json:"sessionId"`
	CheckoutURL string       `json:"checkoutUrl"`
	ExpiresAt   string       `json:"expiresAt"`
	Amount      *json.Number `json:"amount"`
	Currency    string       `json:"currency"`
}

// create makes the create call [payments/checkout-sessions].
func (c *Client) create(ctx context.Context, order Order) (Checkout, error) {
	metadata := make(map[string]string)
	maps.Copy(metadata, order.Metadata)
	maps.Copy(metadata, order.Terms.Metadata())
	request := map[string]any{
		"amount": order.Terms.Price.Number(), "currency": order.Terms.Price.Currency, "successUrl": order.SuccessURL,
		"expiresIn": int64(order.ExpiresIn / time.Second), "metadata": metadata,
	}
	for name, value := range map[string]string{
		"cancelUrl": order.CancelURL, "description": order.Description, "customerEmail": order.CustomerEmail,
	} {
		if value != "" {
			request[name] = value
		}
	}
	given, err := c.authorize(ctx)
	if err != nil {
		return Checkout{}, err
	}
	var answer createAnswer
	err = c.post(ctx, pathSession, request, given, &answer)
	if errors.Is(err, ErrCredentials) && c.config.Secret != "" {
		// Axra may have revoked the access token early. Try once more with a new one.
		c.exchanged.CompareAndSwap(given, nil)
		if given, err = c.authorize(ctx); err == nil {
			err = c.post(ctx, pathSession, request, given, &answer)
		}
	}
	if err != nil {
		return Checkout{}, err
	}
	return c.check(answer, order)
}

// check rejects an answer that could send the visitor to another site or charge a different price.
func (c *Client) check(answer createAnswer, order Order) (Checkout, error) {
	if answer.SessionID == "" || len(answer.SessionID) > 256 || len(answer.CheckoutURL) > maxCheckoutURL {
		return Checkout{}, fmt.Errorf("%w: its answer holds no usable session", ErrUnavailable)
	}
	target, err := url.Parse(answer.CheckoutURL)
	if err != nil || !c.config.CheckoutHosts.Allow(target) {
		return Checkout{}, ErrCheckoutURL
	}
	if !confirms(answer, order.Terms.Price) {
		return Checkout{}, fmt.Errorf("%w: it confirms another amount than %s", ErrRefused, order.Terms.Price)
	}
	now := c.config.Now()
	expires, err := time.Parse(time.RFC3339Nano, answer.ExpiresAt)
	switch {
	case err != nil || expires.After(now.Add(order.ExpiresIn+time.Minute)):
		expires = now.Add(order.ExpiresIn)
	case !expires.After(now):
		return Checkout{}, fmt.Errorf("%w: its session has expired already", ErrUnavailable)
	}
	return Checkout{Session: answer.SessionID, URL: target.String(), ExpiresAt: expires}, nil
}

// confirms reports whether the amount and currency of the answer, if any, are those of the price.
func confirms(answer createAnswer, price money.Price) bool {
	amount, currency := price.Digits(), cmp.Or(answer.Currency, price.Currency)
	if answer.Amount != nil {
		amount = answer.Amount.String()
	}
	confirmed, err := money.ParsePaid(amount, currency)
	return err == nil && confirmed.Equal(price)
}

// CheckoutHosts lists where a checkout URL may lead. A host that starts with "*."
// matches its subdomains. A host with a port allows only that port.
type CheckoutHosts struct {
	Hosts []string
	// Insecure also allows http, for an endpoint on the loopback interface.
	Insecure bool
}

// Allow reports whether visitors may be sent to the URL.
func (c CheckoutHosts) Allow(target *url.URL) bool {
	isSecure := target.Scheme == "https" || c.Insecure && target.Scheme == "http"
	if !isSecure || target.User != nil || target.Opaque != "" || target.Hostname() == "" {
		return false
	}
	host := strings.ToLower(target.Host)
	for _, allowed := range c.Hosts {
		allowed = strings.ToLower(allowed)
		if host == allowed || host == allowed+":443" {
			return true
		}
		domain, ok := strings.CutPrefix(allowed, "*.")
		if sub, found := strings.CutSuffix(host, "."+domain); ok && domain != "" && found && sub != "" {
			return true
		}
	}
	return false
}

// Sources returns source expressions of a Content-Security-Policy that let a form lead
// to the checkout (https://www.w3.org/TR/CSP3/#framework-directive-source-list).
func (c CheckoutHosts) Sources() []string {
	scheme := "https:"
	if c.Insecure {
		scheme = "http:" // includes https
	}
	var sources []string
	for _, host := range c.Hosts {
		source := scheme + "//" + host
		if strings.HasPrefix(host, "[") { // the grammar has no IPv6 addresses
			source = scheme
		}
		sources = append(sources, source)
	}
	return sources
}
