// Package session starts checkout sessions: the client of Axra's API with its limits, retries and circuit breaker, and
// the pending cookie by which a browser remembers which sessions it started.
package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
)

// Errors of Client.Create. None of them quotes a key, a secret, a token or a checkout URL.
var (
	// ErrUnavailable means that Axra cannot be reached, is too slow, sends an unusable
	// answer, or asks us to wait. Trying again later may help.
	ErrUnavailable = errors.New("axra is unavailable")
	// ErrCredentials means that Axra rejects the key or the secret.
	ErrCredentials = errors.New("axra refuses the credentials")
	// ErrRefused means that Axra rejects the request: the configuration is wrong.
	ErrRefused = errors.New("axra refuses the request")
	// ErrCheckoutURL means that the answer leads to a host that is not allowed.
	ErrCheckoutURL = errors.New("checkout URL is not one of Axra's checkout hosts")
	// ErrBusy means that too many visitors wait for Axra. It comes with ErrUnavailable.
	ErrBusy = errors.New("too many visitors wait for it already")

	errBusy      = fmt.Errorf("%w: %w", ErrUnavailable, ErrBusy)
	errSuspended = fmt.Errorf("%w: calls are suspended after repeated failures", ErrUnavailable)
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
	// maxRetryAfter is the longest wait that a 429 may cause within Create.
	maxRetryAfter = 2 * time.Second
	// maxConcurrent bounds how many visitors wait for Axra at once.
	maxConcurrent = 64
)

// Client creates checkout sessions. It is safe for concurrent use and keeps
// its breaker and access token for its whole life.
type Client struct {
	config     ClientConfig
	breaker    *gobreaker.CircuitBreaker[Checkout]
	slots      chan struct{}
	exchanging chan struct{} // holds a value during an exchange
	exchanged  atomic.Pointer[credentials]
	onAnswer   func(http.Header)
}

// ClientConfig configures a Client.
type ClientConfig struct {
	HTTP          *http.Client // must not follow redirects: requests carry credentials
	Endpoint      string       // base URL of the API, without a slash at the end
	Key           string
	Secret        string // not empty: authenticate by token exchange
	CheckoutHosts CheckoutHosts
	Now           func() time.Time
	OnCall        func(Call) // called after each call; may be nil
}

// NewClient returns a client. It makes no call.
func NewClient(config ClientConfig) *Client {
	breaker := gobreaker.NewCircuitBreaker[Checkout](gobreaker.Settings{
		Name:        "axra",
		Timeout:     10 * time.Second,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= 5 },
		// A rejected request is a fault of the configuration, not of Axra.
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, ErrRefused) },
		// A visitor who leaves says nothing about Axra's health.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return &Client{
		config: config, breaker: breaker, slots: make(chan struct{}, maxConcurrent), exchanging: make(chan struct{}, 1),
	}
}

// IsSuspended reports whether calls are suspended after repeated failures; until one succeeds again.
func (c *Client) IsSuspended() bool { return c.breaker.State() != gobreaker.StateClosed }

// Ready returns the error with which Create would fail at once; nil if it would not.
func (c *Client) Ready() error {
	switch {
	case c.breaker.State() == gobreaker.StateOpen:
		return errSuspended
	case len(c.slots) == cap(c.slots):
		return errBusy
	}
	return nil
}

// Create opens a checkout session. It retries at most twice: an unpaid session whose answer was lost costs nothing.
func (c *Client) Create(ctx context.Context, order Order) (Checkout, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return Checkout{}, errBusy
	}
	checkout, err := c.breaker.Execute(func() (Checkout, error) {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		delays := backoff.NewExponentialBackOff()
		delays.InitialInterval, delays.MaxInterval = 200*time.Millisecond, time.Second
		return backoff.Retry(ctx, func() (Checkout, error) {
			checkout, err := c.create(ctx, order)
			var wait *backoff.RetryAfterError
			if err != nil && (!errors.Is(err, ErrUnavailable) || errors.As(err, &wait) && wait.Duration > maxRetryAfter) {
				err = backoff.Permanent(err) // not worth repeating
			}
			return checkout, err
		}, backoff.WithBackOff(delays), backoff.WithMaxTries(maxTries))
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return Checkout{}, errSuspended
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Checkout{}, fmt.Errorf("%w: no answer within %s", ErrUnavailable, deadline)
	}
	return checkout, err
}

// Probe is the outcome of harmless calls.
type Probe struct {
	Exchanged bool      // key and secret were exchanged for an access token
	Created   bool      // Axra made the session; it is unpaid and costs nothing
	Date      time.Time // on Axra's clock; zero if it is not known
}

// Probe checks whether Axra accepts the credentials, by a session with the amount 0. It is not an error that Axra
// rejects it. Other errors are those of Create.
func (c *Client) Probe(ctx context.Context) (probe Probe, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	probe.Exchanged = c.config.Secret != ""
	tried := NewClient(c.config) // has no token yet
	tried.onAnswer = func(header http.Header) { probe.Date, _ = http.ParseTime(header.Get("Date")) }
	given, err := tried.authorize(ctx)
	if err == nil { // Axra rejects this, as fields are missing
		err = tried.post(ctx, pathSession, map[string]any{"amount": 0, "currency": "usd"}, given, new(any))
		probe.Created = err == nil
	}
	if given != nil && errors.Is(err, ErrRefused) {
		err = nil
	}
	return probe, err
}

// credentials authenticate calls [authentication].
type credentials struct {
	header  http.Header
	renewAt time.Time // of an access token
}

// authorize returns the key itself or, with a secret, an access token that both were exchanged for. One visitor exchanges
// at a time; those who wait use the same token.
func (c *Client) authorize(ctx context.Context) (*credentials, error) {
	if c.config.Secret == "" {
		return &credentials{header: http.Header{"X-Api-Key": {c.config.Key}}}, nil
	}
	select {
	case c.exchanging <- struct{}{}:
		defer func() { <-c.exchanging }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if known := c.exchanged.Load(); known != nil && c.config.Now().Before(known.renewAt) {
		return known, nil
	}
	return c.exchange(ctx)
}

// exchange exchanges key and secret for an access token. It keeps the token until a tenth of its life before it expires:
// six minutes of the documented hour.
func (c *Client) exchange(ctx context.Context) (*credentials, error) {
	var answer struct {
		AccessToken string `json:"accessToken"`
		ExpiresIn   int64  `json:"expiresIn"` // seconds
	}
	if err := c.post(ctx, pathToken, map[string]string{"apiKey": c.config.Key, "apiSecret": c.config.Secret}, nil, &answer); err != nil {
		return nil, err
	}
	if answer.AccessToken == "" {
		return nil, fmt.Errorf("%w: the exchange returned no access token", ErrUnavailable)
	}
	life := time.Duration(min(max(answer.ExpiresIn, 60), 24*3600)) * time.Second
	given := &credentials{http.Header{"Authorization": {"Bearer " + answer.AccessToken}}, c.config.Now().Add(life - life/10)}
	c.exchanged.Store(given)
	return given, nil
}
