package ledger

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/caddy-axra/paywall/token"
)

// Keys reads the installation with its keys. It returns ErrNotFound and token.ErrNoKeys where ChangeKeys was never
// called. A Ledger is a token.Store.
func (l *Ledger) Keys(ctx context.Context) (token.KeySet, error) {
	known := l.installation.Load()
	return read(ctx, l, func(t *tx) (token.KeySet, error) {
		t.known = known
		set := readKeys(t)
		if t.err == nil && set.Installation == "" && known == nil {
			return token.KeySet{}, fmt.Errorf("%w: %w", ErrNotFound, token.ErrNoKeys)
		}
		return set, l.ours(t, set.Installation)
	})
}

// ChangeKeys replaces the keys by those that edit returns; nil leaves them as they are. edit sees the current keys, may
// run twice, and sees those of another process if that was faster. The first call makes the installation.
func (l *Ledger) ChangeKeys(ctx context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	set, outcome := write(ctx, l, func(t *tx) (token.KeySet, error) {
		set := readKeys(t)
		if set.Installation == "" && t.err == nil {
			set.Installation = randomHex(8)
			t.exec(`INSERT INTO installation (id, created_at) VALUES ($1, $2)`, set.Installation, l.now())
		}
		edited, err := edit(token.KeySet{Installation: set.Installation, Keys: slices.Clone(set.Keys)})
		if t.err != nil || err != nil || edited == nil {
			return set, err
		}
		t.exec(`DELETE FROM keys`)
		for _, k := range edited {
			t.exec(`INSERT INTO keys (kid, algorithm, secret, created_at, sign_from) VALUES ($1, $2, $3, $4, $5)`,
				k.ID, k.Algorithm, base64.StdEncoding.EncodeToString(k.Secret), k.CreatedAt.Unix(), k.SignFrom.Unix())
		}
		l.advanceFeed(t, "")
		return readKeys(t), nil
	})
	if set.Installation != "" { // from now on another one is foreign
		outcome = cmp.Or(l.checkInstallation(set.Installation), outcome)
	}
	return set, outcome
}

func readKeys(t *tx) (set token.KeySet) {
	t.get(`SELECT id FROM installation`, nil, &set.Installation)
	var k token.StoredKey
	t.each(`SELECT kid, algorithm, secret, created_at, sign_from FROM keys ORDER BY created_at, kid`, nil,
		into{&k.ID, &k.Algorithm, parsed(&k.Secret, base64.StdEncoding.DecodeString), unix(&k.CreatedAt), unix(&k.SignFrom)},
		func() { set.Keys = append(set.Keys, k) })
	return set
}
