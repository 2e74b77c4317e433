package session

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// authorizer gives the headers that authenticate a call [authentication].
type authorizer interface {
	authorize(ctx context.Context) (http.Header, error)
	// forget is told of credentials that Axra refused, and reports whether others
	// can be had.
	forget(http.Header) bool
}

// keyHeader is way 1: the key itself.
type keyHeader string

func (k keyHeader) authorize(context.Context) (http.Header, error) {
	return http.Header{"X-Api-Key": {string(k)}}, nil
}

func (keyHeader) forget(http.Header) bool { return false }

// exchange is way 2: key and secret are exchanged for an access token, which is
// kept until shortly before its end. One exchange runs at a time, however many
// visitors wait for it.
type exchange struct {
	client      *Client
	key, secret string
	flight      singleflight.Group

	mu      sync.Mutex
	bearer  string
	renewAt time.Time
}

// early is how long before its end a token is renewed, as a part of its life.
const early = 10 // a tenth: six minutes of the documented hour

func newExchange(c *Client, key, secret string) *exchange {
	return &exchange{client: c, key: key, secret: secret}
}

func (e *exchange) authorize(ctx context.Context) (http.Header, error) {
	if bearer := e.current(); bearer != "" {
		return bearerHeader(bearer), nil
	}
	return e.wait(ctx)
}

// wait joins the exchange that runs, or starts one.
func (e *exchange) wait(ctx context.Context) (http.Header, error) {
	flight := e.flight.DoChan("exchange", func() (any, error) {
		// The one before may have ended just after this visitor looked.
		if bearer := e.current(); bearer != "" {
			return bearer, nil
		}
		// One visitor leaving must not fail the exchange for the others.
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
		return bearerHeader(bearer), nil
	}
}

func bearerHeader(bearer string) http.Header {
	return http.Header{"Authorization": {"Bearer " + bearer}}
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
		return "", fmt.Errorf("%w: the exchange gave no access token", ErrUnavailable)
	}
	life := time.Duration(min(max(answer.ExpiresIn, 60), 24*3600)) * time.Second
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bearer = answer.AccessToken
	e.renewAt = e.client.now().Add(life - life/early)
	return e.bearer, nil
}
