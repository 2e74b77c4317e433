package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/caddy-axra/paywall/internal/bulk"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
)

// location is where a ledger is: the path of a file, or a PostgreSQL URL.
type location string

func (p location) isPostgres() bool { return strings.HasPrefix(string(p), "postgres") }

func (p location) options() ledger.Options {
	if p.isPostgres() {
		return ledger.Options{URL: string(p)}
	}
	return ledger.Options{Path: string(p)}
}

// newLocation is where a ledger of the section webhook will be.
func (b *bench) newLocation(ctx context.Context, file string) (location, error) {
	if b.postgres == "" {
		return location(file), nil
	}
	return b.createDatabase(ctx, "template0")
}

// copy copies a ledger that nobody has open.
func (b *bench) copy(ctx context.Context, from location, file string) (location, error) {
	if from.isPostgres() {
		return b.createDatabase(ctx, databaseOf(from))
	}
	return location(file), copyFile(string(from), file)
}

func databaseOf(p location) string { return path.Base(strings.SplitN(string(p), "?", 2)[0]) }

// createDatabase makes a database on the server of the option -postgres, and drops it at the end.
func (b *bench) createDatabase(ctx context.Context, template string) (location, error) {
	server, err := url.Parse(b.postgres)
	if err != nil {
		return "", errors.New("-postgres is no URL")
	}
	name := fmt.Sprintf("bench_%d_%d", os.Getpid(), time.Now().UnixNano())
	run := func(statement string) error {
		return withSQL(location(b.postgres), func(db *sql.DB) error {
			_, err := db.ExecContext(context.WithoutCancel(ctx), statement)
			return err
		})
	}
	if err := run(`CREATE DATABASE ` + name + ` TEMPLATE ` + template); err != nil {
		return "", err
	}
	b.onStop(func() { _ = run(`DROP DATABASE ` + name + ` WITH (FORCE)`) })
	server.Path = "/" + name
	return location(server.String()), nil
}

// openLedger opens a ledger, which may be open in another process.
func openLedger(ctx context.Context, at location) (*ledger.Ledger, error) {
	l := ledger.New(at.options())
	_, err := l.Open(ctx)
	return l, err
}

// makeLedger makes a ledger with a key and so many payments. It returns the key.
func makeLedger(ctx context.Context, at location, algorithm string, payments int) (*token.Keyring, error) {
	keys := token.NewKeyring(time.Now)
	l, err := openLedger(ctx, at)
	if err != nil {
		return nil, err
	}
	ensured := keys.Ensure(ctx, l, algorithm)
	if err := errors.Join(ensured, l.Close()); err != nil {
		return nil, err
	}
	return keys, withSQL(at, func(db *sql.DB) error { return fill(ctx, db, at.isPostgres(), payments) })
}

// withSQL runs f on one connection to a ledger.
func withSQL(at location, f func(*sql.DB) error) error {
	driver, source := "pgx", string(at)
	if !at.isPostgres() {
		query := url.Values{"mode": {"rw"}, "_pragma": {"temp_store(MEMORY)", "cache_size(-400000)", "synchronous(OFF)", "busy_timeout(10000)"}}
		driver, source = "sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(source), RawQuery: query.Encode()}).String()
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if at.isPostgres() {
		_, err = db.ExecContext(context.Background(), `SET search_path = axra`)
	}
	if err == nil {
		err = f(db)
	}
	return errors.Join(err, db.Close())
}

// fill inserts payments of the last year in one transaction.
func fill(ctx context.Context, db *sql.DB, isPostgres bool, payments int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing to undo after the commit
	for _, statement := range bulk.Statements(isPostgres, time.Now().AddDate(-1, 0, 0), payments) {
		if _, err := tx.ExecContext(ctx, statement); err != nil { //nolint:gosec // our own statements
			return fmt.Errorf("%w: %s", err, statement)
		}
	}
	if err := tx.Commit(); err != nil || !isPostgres {
		return err
	}
	_, err = db.ExecContext(ctx, `ANALYZE`)
	return err
}

// copyFile copies the file of a ledger.
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

func countRows(ctx context.Context, at location) (r rows, err error) {
	return r, withSQL(at, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM payment_ids), (SELECT count(*) FROM purchases)`).
			Scan(&r.payments, &r.ids, &r.purchases)
	})
}
