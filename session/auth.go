package session

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// authorizer returns the headers that authenticate a call [authentication].
type authorizer interface {
	authorize(ctx context.Context) (http.Header, error)
	// forget drops credentials that Axra rejected, and reports whether new ones can be
	// obtained.
	forget(http.Header) bool
}

// keyHeader sends the key itself.
type keyHeader string

func (k keyHeader) authorize(context.Context) (http.Header, error) {
	return http.Header{"X-Api-Key": {string(k)}}, nil
}

func (keyHeader) forget(http.Header) bool { return false }

// exchange exchanges key and secret for an access token, and keeps it until shortly
// before it expires. Waiting visitors share one exchange.
type exchange struct {
	client      *Client
	key, secret string
	flight      singleflight.Group

	mu      sync.Mutex
	bearer  string
	renewAt time.Time
}

// early is the fraction of a token's life before its end in which it is renewed: a tenth,
// which is six minutes of the documented hour.
const early = 10

// authorize joins the running exchange, or starts one where it is time.
func (e *exchange) authorize(ctx context.Context) (http.Header, error) {
	flight := e.flight.DoChan("exchange", func() (any, error) {
		if bearer := e.current(); bearer != "" {
			return bearer, nil
		}
		// A visitor who leaves must not fail the exchange for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
		defer cancel()
		return e.renew(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		bearer, _ := result.Val.(string)
		return http.Header{"Authorization": {"Bearer " + bearer}}, nil
	}
}

func (e *exchange) current() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client.now().Before(e.renewAt) {
		return e.bearer
	}
	return ""
}

func (e *exchange) forget(refused http.Header) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if refused.Get("Authorization") == "Bearer "+e.bearer {
		e.bearer, e.renewAt = "", time.Time{}
	}
	return true
}

func (e *exchange) renew(ctx context.Context) (string, error) {
	request := map[string]string{"apiKey": e.key, "apiSecret": e.secret}
	var answer struct {
		AccessToken string `json:"accessToken"`
		ExpiresIn   int64  `json:"expiresIn"` // seconds
	}
	err := e.client.post(ctx, pathToken, request, nil, &answer)
	if err != nil {
		return "", err
	}
	if answer.AccessToken == "" {
		return "", fmt.Errorf("%w: the exchange returned no access token", ErrUnavailable)
	}
	life := time.Duration(min(max(answer.ExpiresIn, 60), 24*3600)) * time.Second
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bearer = answer.AccessToken
	e.renewAt = e.client.now().Add(life - life/early)
	return e.bearer, nil
}
