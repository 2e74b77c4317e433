package admin

import (
	"context"

	"github.com/caddy-axra/paywall/token"
)

// RemoveKeyRequest names a signing key.
type RemoveKeyRequest struct {
	Key string `json:"key"`
}

func (a *API) listKeys(context.Context, None) ([]token.KeyInfo, error) { return a.Keys.List(), nil }

func (a *API) rotateKeys(ctx context.Context, _ None) ([]token.KeyInfo, error) {
	_, err := a.Keys.Rotate(ctx)
	return a.Keys.List(), err
}

func (a *API) removeKey(ctx context.Context, request RemoveKeyRequest) ([]token.KeyInfo, error) {
	err := a.Keys.Remove(ctx, request.Key)
	return a.Keys.List(), err
}
