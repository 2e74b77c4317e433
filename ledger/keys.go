package ledger

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"slices"
)

// Keys reads the installation with its keys. It returns ErrNotFound where ChangeKeys was never called.
func (l *Ledger) Keys(ctx context.Context) (KeySet, error) {
	var set KeySet
	err := l.read(ctx, func(ctx context.Context, tx *tx) (err error) {
		known := l.installation.Load()
		set, err = readKeys(ctx, tx)
		if err != nil {
			return err
		}
		if set.Installation == "" && known == nil {
			return ErrNotFound
		}
		return l.ours(known, set.Installation, nil)
	})
	if err != nil {
		return KeySet{}, err
	}
	return set, nil
}

// ChangeKeys replaces the keys by those that edit returns; nil leaves them as they are. edit sees the
// current keys, may run twice, and sees those of another process if that was faster. The first call makes
// the installation.
func (l *Ledger) ChangeKeys(ctx context.Context, edit func(KeySet) ([]Key, error)) (KeySet, error) {
	var set KeySet
	var outcome error
	err := l.write(ctx, func(ctx context.Context, tx *tx) (err error) {
		outcome = nil
		if set, err = readKeys(ctx, tx); err != nil {
			return err
		}
		if set.Installation == "" {
			if set.Installation, err = l.createInstallation(ctx, tx); err != nil {
				return err
			}
		}
		var edited []Key
		edited, outcome = edit(KeySet{Installation: set.Installation, Keys: slices.Clone(set.Keys)})
		if outcome != nil || edited == nil {
			return nil //nolint:nilerr // outcome is the caller's error; the transaction stands
		}
		if err := storeKeys(ctx, tx, edited, set.Keys); err != nil {
			return err
		}
		if set, err = readKeys(ctx, tx); err != nil {
			return err
		}
		return l.advanceKeys(ctx, tx)
	})
	if err != nil {
		return KeySet{}, err
	}
	// From now on another installation is a foreign one.
	if err := l.checkInstallation(set.Installation); err != nil {
		return KeySet{}, err
	}
	return set, outcome
}

func (l *Ledger) createInstallation(ctx context.Context, tx *tx) (string, error) {
	id, err := l.randomHex(8)
	if err != nil {
		return "", err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO installation (id, created_at) VALUES ($1, $2)`, id, l.now())
	return id, err
}

func readKeys(ctx context.Context, tx *tx) (KeySet, error) {
	var set KeySet
	err := tx.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&set.Installation)
	if err := ignoreNoRows(err); err != nil {
		return KeySet{}, err
	}
	err = scanAll(ctx, tx, func(rows *sql.Rows) error {
		var k Key
		var secret string
		var created, signFrom, retired, removed sql.NullInt64
		if err := rows.Scan(&k.ID, &k.Algorithm, &secret, &created, &signFrom, &retired, &removed); err != nil {
			return err
		}
		var err error
		if k.Secret, err = base64.StdEncoding.DecodeString(secret); err != nil {
			return fmt.Errorf("the secret of key %s is not base64", k.ID)
		}
		k.CreatedAt, k.SignFrom, k.RetiredAt, k.RemovedAt = timeOf(created), timeOf(signFrom), timeOf(retired), timeOf(removed)
		set.Keys = append(set.Keys, k)
		return nil
	}, `SELECT kid, algorithm, secret, created_at, sign_from, retired_at, removed_at FROM keys ORDER BY created_at, kid`)
	return set, err
}

// storeKeys stores keys and deletes those of before that are not among them.
func storeKeys(ctx context.Context, tx *tx, keys, before []Key) error {
	for _, k := range keys {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO keys (kid, algorithm, secret, created_at, sign_from, retired_at, removed_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (kid) DO UPDATE
			SET algorithm = excluded.algorithm, secret = excluded.secret, created_at = excluded.created_at,
				sign_from = excluded.sign_from, retired_at = excluded.retired_at, removed_at = excluded.removed_at`,
			k.ID, k.Algorithm, base64.StdEncoding.EncodeToString(k.Secret), k.CreatedAt.Unix(), k.SignFrom.Unix(),
			seconds(k.RetiredAt), seconds(k.RemovedAt))
		if err != nil {
			return err
		}
	}
	for _, k := range before {
		if slices.ContainsFunc(keys, func(kept Key) bool { return kept.ID == k.ID }) {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM keys WHERE kid = $1`, k.ID); err != nil {
			return err
		}
	}
	return nil
}
