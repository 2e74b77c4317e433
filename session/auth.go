package session

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// credentials authenticate calls [authentication].
type credentials struct {
	header  http.Header
	renewAt time.Time // of an access token
}

// early is the fraction of a token's life before its end in which it is renewed: a tenth,
// which is six minutes of the documented hour.
const early = 10

// authorize returns the key itself or, with a secret, an access token that both were exchanged for. One visitor exchanges
// at a time; those who wait use the same token.
func (c *Client) authorize(ctx context.Context) (*credentials, error) {
	if c.secret == "" {
		return &credentials{header: http.Header{"X-Api-Key": {c.key}}}, nil
	}
	select {
	case c.exchanging <- struct{}{}:
		defer func() { <-c.exchanging }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	if known := c.exchanged.Load(); known != nil && c.now().Before(known.renewAt) {
		return known, nil
	}
	return c.exchange(ctx)
}

// exchange exchanges key and secret for an access token, and keeps it until shortly before it expires.
func (c *Client) exchange(ctx context.Context) (*credentials, error) {
	var answer struct {
		AccessToken string `json:"accessToken"`
		ExpiresIn   int64  `json:"expiresIn"` // seconds
	}
	if err := c.post(ctx, pathToken, map[string]string{"apiKey": c.key, "apiSecret": c.secret}, nil, &answer); err != nil {
		return nil, err
	}
	if answer.AccessToken == "" {
		return nil, fmt.Errorf("%w: the exchange returned no access token", ErrUnavailable)
	}
	life := time.Duration(min(max(answer.ExpiresIn, 60), 24*3600)) * time.Second
	given := &credentials{http.Header{"Authorization": {"Bearer " + answer.AccessToken}}, c.now().Add(life - life/early)}
	c.exchanged.Store(given)
	return given, nil
}
