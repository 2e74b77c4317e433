// Package session starts checkout sessions: the client of Axra's API with its
// limits, retries and circuit breaker, and the pending cookie by which a
// browser remembers which sessions it started.
package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
)

// Errors of Client.Create. None of them quotes a key, a secret, a token or a
// checkout URL.
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
	http     Doer
	endpoint string
	auth     authorizer
	hosts    CheckoutHosts
	now      func() time.Time
	breaker  *gobreaker.CircuitBreaker[Checkout]
	slots    chan struct{}
	onCall   func(Call)
}

// ClientConfig configures a Client.
type ClientConfig struct {
	HTTP          Doer
	Endpoint      string // base URL of the API, without a slash at the end
	Key           string
	Secret        string // not empty: authenticate by token exchange
	CheckoutHosts CheckoutHosts
	Now           func() time.Time
	OnBreaker     func(open bool) // called when calls are suspended and resumed; may be nil
	OnCall        func(Call)      // called after each call; may be nil
}

// NewClient returns a client. It makes no call.
func NewClient(c ClientConfig) *Client {
	client := &Client{
		http: c.HTTP, endpoint: c.Endpoint, hosts: c.CheckoutHosts, now: c.Now,
		slots: make(chan struct{}, maxConcurrent), onCall: c.OnCall,
	}
	client.auth = keyHeader(c.Key)
	if c.Secret != "" {
		client.auth = &exchange{client: client, key: c.Key, secret: c.Secret}
	}
	client.breaker = gobreaker.NewCircuitBreaker[Checkout](gobreaker.Settings{
		Name:    "axra",
		Timeout: 10 * time.Second,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= 5
		},
		// A rejected request is a fault of the configuration, not of Axra.
		IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, ErrRefused) },
		// A visitor who leaves says nothing about Axra's health.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			// Half open is a single trial. While it fails, calls stay suspended.
			trial := to == gobreaker.StateHalfOpen || from == gobreaker.StateHalfOpen && to == gobreaker.StateOpen
			if c.OnBreaker != nil && !trial {
				c.OnBreaker(to == gobreaker.StateOpen)
			}
		},
	})
	return client
}

// Ready returns the error with which Create would fail at once; nil if it would not.
func (c *Client) Ready() error {
	switch {
	case c.breaker.State() == gobreaker.StateOpen:
		return fmt.Errorf("%w: calls are suspended after repeated failures", ErrUnavailable)
	case len(c.slots) == cap(c.slots):
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrBusy)
	}
	return nil
}

// Create opens a checkout session. It retries at most twice: an unpaid session whose
// answer was lost costs nothing.
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

// try makes one attempt and marks the errors that are not worth repeating.
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
