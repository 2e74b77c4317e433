// Package session starts checkout sessions: the client of Axra's API with its
// limits, retries and circuit breaker, and the pending cookie by which a
// browser remembers which sessions it started.
package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// Errors of Client.Create. None of them quotes a key, a secret, a token or a
// checkout URL.
var (
	// ErrUnavailable: Axra cannot be reached, is too slow, answers nonsense, or
	// asks us to wait. Trying again later may help.
	ErrUnavailable = errors.New("axra is unavailable")
	// ErrCredentials: Axra refuses our key or secret.
	ErrCredentials = errors.New("axra refuses the credentials")
	// ErrRefused: Axra refuses the request itself; the configuration is at fault.
	ErrRefused = errors.New("axra refuses the request")
	// ErrCheckoutURL: Axra's answer names a checkout page that we do not send
	// visitors to.
	ErrCheckoutURL = errors.New("checkout URL is not one of Axra's checkout hosts")
	// ErrBusy: as many visitors wait for Axra as may. It comes with ErrUnavailable.
	ErrBusy = errors.New("too many visitors wait for it already")
)

// Limits of Axra's create call [payments/checkout-sessions].
const (
	MinExpiresIn     = 300 * time.Second
	DefaultExpiresIn = 30 * time.Minute
)

const (
	// deadline bounds one Create, retries and token exchange included.
	deadline = 10 * time.Second
	// maxTries: the first one and two more.
	maxTries = 3
	// maxRetryAfter bounds how long a 429 may make one request wait; a longer
	// one is passed on to the visitor.
	maxRetryAfter = 2 * time.Second
	// maxAnswer bounds an answer in bytes; the documented ones are below 1 KB.
	maxAnswer = 64 << 10
	// maxConcurrent bounds how many visitors wait for Axra at once.
	maxConcurrent = 64
	// maxCheckoutURL bounds the checkout URL in bytes.
	maxCheckoutURL = 2048
)

// Doer sends a request; *http.Client is one. It must not follow redirects: the
// request carries credentials.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Order is what Create asks Axra for.
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

// Client creates checkout sessions. It is safe for concurrent use and keeps
// its breaker and access token for its whole life.
type Client struct {
	http     Doer
	endpoint string
	auth     authorizer
	hosts    CheckoutHosts
	now      func() time.Time
	breaker  *gobreaker.CircuitBreaker[Checkout]
	slots    chan struct{}
	onCall   func(Call)
}

// ClientConfig is what NewClient needs.
type ClientConfig struct {
	HTTP          Doer
	Endpoint      string // base URL of the API, without a slash at the end
	Key           string
	Secret        string // not empty: authenticate by token exchange
	CheckoutHosts CheckoutHosts
	Now           func() time.Time
	OnBreaker     func(open bool) // told when calls are suspended and resumed, not of the trials between; may be nil
	OnCall        func(Call)      // told of each call that has ended; may be nil
}

// NewClient returns a client. It makes no call.
func NewClient(c ClientConfig) *Client {
	client := &Client{
		http: c.HTTP, endpoint: c.Endpoint, hosts: c.CheckoutHosts, now: c.Now,
		slots: make(chan struct{}, maxConcurrent), onCall: c.OnCall,
	}
	client.auth = keyHeader(c.Key)
	if c.Secret != "" {
		client.auth = newExchange(client, c.Key, c.Secret)
	}
	client.breaker = gobreaker.NewCircuitBreaker[Checkout](gobreaker.Settings{
		Name:    "axra",
		Timeout: 10 * time.Second,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= 5
		},
		// A refusal is the configuration's fault: Axra itself is well.
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, ErrRefused) },
		// A visitor who left says nothing of Axra's health, neither good nor bad.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			// Half open is one trial: while it fails, calls stay suspended.
			trial := to == gobreaker.StateHalfOpen || from == gobreaker.StateHalfOpen && to == gobreaker.StateOpen
			if c.OnBreaker != nil && !trial {
				c.OnBreaker(to == gobreaker.StateOpen)
			}
		},
	})
	return client
}

// RetryAfter returns how long to wait before trying again after an error of
// Create, between one second and five minutes.
func RetryAfter(err error) time.Duration {
	var wait *retryLater
	if errors.As(err, &wait) {
		return min(max(wait.after, time.Second), 5*time.Minute)
	}
	return 10 * time.Second
}

type retryLater struct{ after time.Duration }

func (r *retryLater) Error() string { return fmt.Sprintf("asked to wait %s", r.after) }

// Ready returns why Create would fail at once, nil if it would not.
func (c *Client) Ready() error {
	switch {
	case c.breaker.State() == gobreaker.StateOpen:
		return fmt.Errorf("%w: calls are suspended after repeated failures", ErrUnavailable)
	case len(c.slots) == cap(c.slots):
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrBusy)
	}
	return nil
}

// Create opens a checkout session. A failed try is repeated at most twice: an
// unpaid session that Axra made without our hearing of it costs nobody anything.
func (c *Client) Create(ctx context.Context, order Order) (Checkout, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return Checkout{}, fmt.Errorf("%w: %w", ErrUnavailable, ErrBusy)
	}
	checkout, err := c.breaker.Execute(func() (Checkout, error) {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		return backoff.Retry(ctx, func() (Checkout, error) { return c.try(ctx, order) },
			backoff.WithBackOff(retryDelays()), backoff.WithMaxTries(maxTries))
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return Checkout{}, fmt.Errorf("%w: calls are suspended after repeated failures", ErrUnavailable)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Checkout{}, fmt.Errorf("%w: no answer within %s", ErrUnavailable, deadline)
	}
	return checkout, err
}

func retryDelays() backoff.BackOff {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval = 200 * time.Millisecond
	delays.MaxInterval = time.Second
	return delays
}

// try makes one attempt and tells Retry what is worth repeating.
func (c *Client) try(ctx context.Context, order Order) (Checkout, error) {
	checkout, err := c.create(ctx, order)
	var wait *retryLater
	switch {
	case err == nil:
		return checkout, nil
	case errors.As(err, &wait) && wait.after <= maxRetryAfter:
		return Checkout{}, errors.Join(err, &backoff.RetryAfterError{Duration: wait.after})
	case errors.As(err, &wait), !errors.Is(err, ErrUnavailable):
		return Checkout{}, backoff.Permanent(err)
	default:
		return Checkout{}, err
	}
}

// createRequest is the body of the create call [payments/checkout-sessions].
type createRequest struct {
	Amount        json.Number       `json:"amount"`
	Currency      string            `json:"currency"`
	SuccessURL    string            `json:"successUrl"`
	CancelURL     string            `json:"cancelUrl,omitempty"`
	Description   string            `json:"description,omitempty"`
	CustomerEmail string            `json:"customerEmail,omitempty"`
	ExpiresIn     int64             `json:"expiresIn"`
	Metadata      map[string]string `json:"metadata"`
}

type createAnswer struct {
	SessionID   string       `json:"sessionId"`
	CheckoutURL string       `json:"checkoutUrl"`
	ExpiresAt   string       `json:"expiresAt"`
	Amount      *json.Number `json:"amount"`
	Currency    string       `json:"currency"`
}

func (c *Client) create(ctx context.Context, order Order) (Checkout, error) {
	metadata := make(map[string]string, len(order.Metadata)+8)
	for name, value := range order.Metadata {
		metadata[name] = value
	}
	for name, value := range order.Terms.Metadata() {
		metadata[name] = value
	}
	request := createRequest{
		Amount: order.Terms.Price.Number(), Currency: order.Terms.Price.Currency,
		SuccessURL: order.SuccessURL, CancelURL: order.CancelURL,
		Description: order.Description, CustomerEmail: order.CustomerEmail,
		ExpiresIn: int64(order.ExpiresIn / time.Second), Metadata: metadata,
	}
	credentials, err := c.auth.authorize(ctx)
	if err != nil {
		return Checkout{}, err
	}
	var answer createAnswer
	err = c.post(ctx, pathSession, request, credentials, &answer)
	if errors.Is(err, ErrCredentials) && c.auth.forget(credentials) {
		// Axra may have ended the access token before its time: once more with a new one.
		if credentials, err = c.auth.authorize(ctx); err == nil {
			err = c.post(ctx, pathSession, request, credentials, &answer)
		}
	}
	if err != nil {
		return Checkout{}, err
	}
	return c.check(answer, order)
}

// check refuses an answer that could send a visitor astray or charge what was
// not asked.
func (c *Client) check(answer createAnswer, order Order) (Checkout, error) {
	if answer.SessionID == "" || len(answer.SessionID) > 256 || len(answer.CheckoutURL) > maxCheckoutURL {
		return Checkout{}, fmt.Errorf("%w: its answer holds no usable session", ErrUnavailable)
	}
	target, err := url.Parse(answer.CheckoutURL)
	if err != nil || !c.hosts.Allow(target) {
		return Checkout{}, ErrCheckoutURL
	}
	if !confirms(answer, order.Terms.Price) {
		return Checkout{}, fmt.Errorf("%w: it confirms another amount than %s", ErrRefused, order.Terms.Price)
	}
	now := c.now()
	latest := now.Add(order.ExpiresIn + time.Minute)
	expires, err := time.Parse(time.RFC3339Nano, answer.ExpiresAt)
	switch {
	case err != nil || expires.After(latest):
		expires = now.Add(order.ExpiresIn)
	case !expires.After(now):
		return Checkout{}, fmt.Errorf("%w: its session has expired already", ErrUnavailable)
	}
	return Checkout{Session: answer.SessionID, URL: target.String(), ExpiresAt: expires}, nil
}

// confirms reports whether the amount and the currency of the answer, where it
// names them, are those of the price.
func confirms(answer createAnswer, price money.Price) bool {
	amount, currency := price.Digits(), price.Currency
	if answer.Amount != nil {
		amount = answer.Amount.String()
	}
	if answer.Currency != "" {
		currency = answer.Currency
	}
	confirmed, err := money.ParsePaid(amount, currency)
	return err == nil && confirmed.Equal(price)
}

// post sends one JSON call and reads its answer, bare or in Axra's envelope.
func (c *Client) post(ctx context.Context, path string, body any, credentials http.Header, into any) error {
	began := time.Now()
	err := c.send(ctx, path, body, credentials, into)
	if c.onCall != nil {
		c.onCall(Call{Name: callNames[path], Outcome: outcomeOf(ctx, err), Took: time.Since(began)})
	}
	return err
}

func (c *Client) send(ctx context.Context, path string, body any, credentials http.Header, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+path, bytes.NewReader(encoded))
	if err != nil {
		return fmt.Errorf("building the request: %w", err)
	}
	for name, values := range credentials {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, cause(err))
	}
	defer response.Body.Close()
	if err := checkStatus(response, c.now()); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: reading its answer: %w", ErrUnavailable, cause(err))
	}
	if len(raw) > maxAnswer {
		return fmt.Errorf("%w: its answer is longer than %d bytes", ErrUnavailable, maxAnswer)
	}
	return decodeAnswer(raw, into)
}

func decodeAnswer(raw []byte, into any) error {
	var envelope struct {
		Success *bool           `json:"success"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return fmt.Errorf("%w: its answer is not JSON", ErrUnavailable)
	}
	if envelope.Success != nil {
		if !*envelope.Success {
			return fmt.Errorf("%w: success is false", ErrRefused)
		}
		raw = envelope.Data
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: its answer is not of the documented form", ErrUnavailable)
	}
	return nil
}

func checkStatus(response *http.Response, now time.Time) error {
	switch status := response.StatusCode; {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: it answered with a redirect, which is not followed", ErrUnavailable)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w (status %d)", ErrCredentials, status)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrUnavailable, &retryLater{retryAfter(response.Header, now)})
	case status >= 500:
		return fmt.Errorf("%w (status %d)", ErrUnavailable, status)
	default:
		return fmt.Errorf("%w (status %d)", ErrRefused, status)
	}
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3), ten
// seconds if it says nothing.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 10 * time.Second
}

// cause says why a request failed. net/http quotes the address and what the
// server sent, which may be a checkout URL or our own credentials sent back: all
// from the first quotation mark on is left out.
func cause(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	said, _, quotes := strings.Cut(err.Error(), `"`)
	if !quotes {
		return err
	}
	return errors.New(strings.TrimSpace(said))
}
