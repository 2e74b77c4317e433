package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/token"
)

// keyChangeTimeout bounds how long a change of keys may wait for the database.
const keyChangeTimeout = 30 * time.Second

func (a *API) listKeys(context.Context, None) ([]token.KeyInfo, error) { return a.Keys.List(), nil }

func (a *API) rotateKeys(ctx context.Context, _ None) ([]token.KeyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, keyChangeTimeout)
	defer cancel()
	_, err := a.Keys.Rotate(ctx)
	return a.Keys.List(), err
}

func (a *API) removeKey(ctx context.Context, request RemoveKeyRequest) ([]token.KeyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, keyChangeTimeout)
	defer cancel()
	err := a.Keys.Remove(ctx, request.ID)
	if errors.Is(err, token.ErrUnknownKey) {
		err = refuse(http.StatusNotFound, "%w", err)
	}
	return a.Keys.List(), err
}
