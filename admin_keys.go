package paywall

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/token"
)

// keyChangeTimeout bounds how long a change of keys may wait for the database.
const keyChangeTimeout = 30 * time.Second

func (a *App) adminKeys(w http.ResponseWriter, _ *http.Request) error {
	return writeAdmin(w, a.listKeys())
}

func (a *App) adminRotate(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), keyChangeTimeout)
	defer cancel()
	if _, err := a.rotateKeys(ctx); err != nil {
		return err
	}
	return writeAdmin(w, a.listKeys())
}

func (a *App) adminRemoveKey(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		ID string `json:"kid"`
	}
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), keyChangeTimeout)
	defer cancel()
	err := a.removeKey(ctx, asked.ID)
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return adminError(http.StatusNotFound, err)
	case err != nil:
		return err
	}
	return writeAdmin(w, a.listKeys())
}
