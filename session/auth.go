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
