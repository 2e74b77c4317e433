package ledger

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/caddy-axra/paywall/token"
)

// Keys reads the installation with its keys. The error wraps ErrNotFound and token.ErrNoKeys where ChangeKeys was never called.
func (l *Ledger) Keys(ctx context.Context) (KeySet, error) {
	known := l.installation.Load()
	return read(ctx, l, func(t *tx) (KeySet, error) {
		t.known = known
		set := readKeys(t)
		if t.err == nil && set.Installation == "" && known == nil {
			return KeySet{}, fmt.Errorf("%w: %w", ErrNotFound, token.ErrNoKeys)
		}
		return set, l.ours(t, set.Installation)
	})
}

// ChangeKeys replaces the keys by those that edit returns; nil leaves them as they are. edit sees the current keys, may
// run twice, and sees those of another process if that was faster. The first call makes the installation.
func (l *Ledger) ChangeKeys(ctx context.Context, edit func(KeySet) ([]Key, error)) (KeySet, error) {
	set, outcome := write(ctx, l, func(t *tx) (KeySet, error) {
		set := readKeys(t)
		if t.err != nil {
			return KeySet{}, t.err
		}
		if set.Installation == "" {
			set.Installation = randomHex(8)
			t.exec(`INSERT INTO installation (id, created_at) VALUES ($1, $2)`, set.Installation, l.now())
		}
		edited, err := edit(KeySet{Installation: set.Installation, Keys: slices.Clone(set.Keys)})
		if err != nil || edited == nil {
			return set, err
		}
		storeKeys(t, edited)
		l.advanceFeed(t, "")
		return readKeys(t), nil
	})
	if set.Installation == "" {
		return KeySet{}, outcome
	}
	// From now on another installation is a foreign one.
	if err := l.checkInstallation(set.Installation); err != nil {
		return KeySet{}, err
	}
	return set, outcome
}

func readKeys(t *tx) (set KeySet) {
	t.get(`SELECT id FROM installation`, nil, &set.Installation)
	var k Key
	var secret string
	t.each(`SELECT kid, algorithm, secret, created_at, sign_from, retired_at, removed_at FROM keys ORDER BY created_at, kid`, nil,
		into{&k.ID, &k.Algorithm, &secret, unix(&k.CreatedAt), unix(&k.SignFrom), unix(&k.RetiredAt), unix(&k.RemovedAt)}, func() {
			var err error
			if k.Secret, err = base64.StdEncoding.DecodeString(secret); err != nil {
				t.fail(fmt.Errorf("the secret of key %s is not base64", k.ID))
			}
			set.Keys = append(set.Keys, k)
		})
	return set
}

func storeKeys(t *tx, keys []Key) {
	t.exec(`DELETE FROM keys`)
	for _, k := range keys {
		t.exec(`
			INSERT INTO keys (kid, algorithm, secret, created_at, sign_from, retired_at, removed_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			k.ID, k.Algorithm, base64.StdEncoding.EncodeToString(k.Secret), k.CreatedAt.Unix(), k.SignFrom.Unix(),
			seconds(k.RetiredAt), seconds(k.RemovedAt))
	}
}
