package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// openLedger opens the ledger at a path, which may be open in another process.
func openLedger(ctx context.Context, path string) (*ledger.Ledger, error) {
	l := ledger.New(ledger.Options{Path: path})
	_, err := l.Open(ctx)
	return l, err
}

// makeLedger makes a ledger with a key and so many payments. It returns the key.
func makeLedger(ctx context.Context, path, algorithm string, payments int) (*token.Keyring, error) {
	keys := token.NewKeyring(time.Now)
	l, err := openLedger(ctx, path)
	if err != nil {
		return nil, err
	}
	ensured := keys.Ensure(ctx, keyStore{l}, algorithm)
	if err := errors.Join(ensured, l.Close()); err != nil {
		return nil, err
	}
	return keys, withSQL(path, false, func(db *sql.DB) error { return fill(ctx, db, payments) })
}

// withSQL runs f on one connection to the file of a ledger.
func withSQL(path string, readOnly bool, f func(*sql.DB) error) error {
	query := url.Values{"mode": {"rw"}, "_pragma": {"temp_store(MEMORY)", "cache_size(-400000)", "synchronous(OFF)", "busy_timeout(10000)"}}
	if readOnly {
		query.Add("_pragma", "query_only(1)")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query.Encode()}).String())
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(f(db), db.Close())
}

// fillStatements insert $2 payments of as many purchases in the year after $1: twenty products of two sites,
// a second payment id for every tenth, a device each, a refund or a dispute for every fiftieth. The ledger's
// own tests fill ledgers in the same way.
var fillStatements = []string{
	`CREATE TEMP TABLE made AS
		WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < $2)
		SELECT i, lower(hex(randomblob(16))) AS id, lower(hex(randomblob(12))) AS session, i % 20 AS term,
			CAST($1 + CAST(i AS REAL) / $2 * 31536000 AS INTEGER) AS at
		FROM numbers`,
	`INSERT INTO terms (hash, body)
		SELECT printf('%032x', i), json_object('installation', 'bench',
			'site', CASE i % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END,
			'product', 'product ' || i, 'resource', '*', 'access', '2592000')
		FROM made WHERE i < 20`,
	`INSERT INTO purchases (id, site, product, resource, status, starts_at, ends_at, device_limit, download_limit, created_at, updated_at)
		SELECT id, CASE term % 2 WHEN 0 THEN 'https://example.com' ELSE 'https://example.org' END, 'product ' || term, '*',
			CASE WHEN i % 100 = 3 THEN 'refunded' ELSE 'active' END, at, at + 2592000, 3, 0, at, at
		FROM made`,
	`INSERT INTO payments (session_id, purchase_id, source, outcome, asked_minor, asked_currency, paid_minor, paid_currency,
			paid_raw, access_seconds, extends, paid_at, terms_hash, metadata, note)
		SELECT 'cs_' || session, id, 'axra', 'accepted', 500, 'usd', 500, 'usd', '5.00 usd', 2592000, '', at, printf('%032x', term), '{}', ''
		FROM made`,
	`INSERT INTO payment_ids (session_id, payment_id, same_as, outcome, at)
		SELECT 'cs_' || session, 'bpay_' || session, '', 'accepted', at FROM made`,
	`INSERT INTO payment_ids (session_id, payment_id, same_as, outcome, at)
		SELECT 'cs_' || session, 'pi_' || session, 'bpay_' || session, 'accepted', at FROM made WHERE i % 10 = 0`,
	`INSERT INTO devices (purchase_id, device_id, label, added_at)
		SELECT id, lower(hex(randomblob(16))), 'Firefox on Linux', at FROM made`,
	`INSERT INTO events (id, kind, session_id, occurred_at, received_at)
		SELECT 'e' || id, CASE i % 100 WHEN 3 THEN 'refunded' ELSE 'disputed' END, '', at + 86400, at + 86400
		FROM made WHERE i % 50 = 3`,
	`INSERT INTO event_ids (event_id, external_id) SELECT 'e' || id, 'bpay_' || session FROM made WHERE i % 50 = 3`,
	`DROP TABLE made`,
}

// fill inserts payments of the last year in one transaction.
func fill(ctx context.Context, db *sql.DB, payments int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to undo after the commit
	for i, statement := range fillStatements {
		var args []any
		if i == 0 {
			args = []any{time.Now().AddDate(-1, 0, 0).Unix(), payments}
		}
		if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
			return fmt.Errorf("%w: %s", err, statement)
		}
	}
	return tx.Commit()
}

// copyFile copies the file of a ledger that nobody has open.
func copyFile(from, to string) error {
	source, err := os.Open(from) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()                                    // only read
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// rows is how many rows a ledger has of what a payment leaves.
type rows struct{ payments, ids, purchases int }

func (r rows) minus(other rows) rows {
	return rows{r.payments - other.payments, r.ids - other.ids, r.purchases - other.purchases}
}

func countRows(ctx context.Context, path string) (r rows, err error) {
	return r, withSQL(path, true, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payment_ids), (SELECT count(*) FROM purchases)`).
			Scan(&r.payments, &r.ids, &r.purchases)
	})
}

// keyStore keeps signing keys in a ledger, as the plugin does.
type keyStore struct{ ledger *ledger.Ledger }

func (s keyStore) Keys(ctx context.Context) (token.KeySet, error) {
	set, err := s.ledger.Keys(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return token.KeySet{}, token.ErrNoKeys
	}
	return keySet(set), err
}

func (s keyStore) ChangeKeys(ctx context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	set, err := s.ledger.ChangeKeys(ctx, func(set ledger.KeySet) ([]ledger.Key, error) {
		edited, err := edit(keySet(set))
		if err != nil || edited == nil {
			return nil, err
		}
		keys := make([]ledger.Key, len(edited))
		for i, key := range edited {
			keys[i] = ledger.Key(key)
		}
		return keys, nil
	})
	return keySet(set), err
}

func keySet(set ledger.KeySet) token.KeySet {
	keys := make([]token.StoredKey, len(set.Keys))
	for i, key := range set.Keys {
		keys[i] = token.StoredKey(key)
	}
	return token.KeySet{Installation: set.Installation, Keys: keys}
}
