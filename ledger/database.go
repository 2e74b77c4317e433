package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// database is an opened database: an SQLite file, or a PostgreSQL server.
type database struct {
	*dialect

	writing *sql.DB // one connection
	reading *sql.DB // a few
	// check is why the database may not be used. It runs with every poll, and before "not found" is believed.
	check func(context.Context) error
	// committed is why a commit may not be acknowledged.
	committed func() error
	// failed reports whether other statements would fail as well after an error.
	failed func(error) bool
	// release frees what is left after the connections were closed.
	release func()
}

// dialect is what differs in the use of the databases.
type dialect struct {
	rewrite     func(string) string // makes a query fit
	tables      string              // lists the names of the ledger's tables
	migrate     func(string) string // makes a migration's script fit
	list        string              // of the values in a JSON list
	analyze     string              // makes the planner statistics, after many rows were inserted
	settings    string              // an expression that prepares a transaction
	writeLock   string              // makes writes serial in the whole database; returns whether commits are durable, and the settings
	migrateLock string              // lets one process migrate, also where there is no feed yet
	timeout     time.Duration       // of each statement of a write; 0: none
}

// errNoAnswer means that a statement took too long.
var errNoAnswer = errors.New("the database server does not answer")

// write runs f with the write lock of the whole database, and commits. Only one goroutine may call it at a time.
func (d *database) write(f func(*tx)) error {
	return cmp.Or(d.commit(d.writeLock, f), d.committed())
}

// commit takes a lock by a query, runs f and commits. Callers cannot cancel it: a COMMIT that reports "canceled" may have
// been carried out.
func (d *database) commit(lock string, f func(*tx)) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := newTx(ctx, d.dialect, nil)
	if d.timeout > 0 {
		t.timer, t.limit = time.AfterFunc(d.timeout, cancel), d.timeout
		defer t.timer.Stop()
	}
	// READ COMMITTED is named, as with another default PostgreSQL would not see what was committed during its wait for a lock.
	begun, err := d.writing.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", driverError{err})
	}
	t.db = begun
	var durable, settings string
	if !t.get(lock, nil, &durable, &settings) {
		t.fail(errNoFeed)
	}
	if durable == "off" {
		t.fail(errAsync)
	}
	if t.err == nil {
		f(t)
	}
	if err = t.err; err != nil {
		begun.Rollback() //nolint:errcheck // the database may have rolled back by itself, or its connection may be lost
	} else {
		t.waitUpTo(t.limit)
		if err = begun.Commit(); err != nil { // if a connection breaks, the outcome is not known
			err = fmt.Errorf("committing: %w", driverError{err})
		}
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return err
}

// read runs f in a transaction that sees one state of the database.
func (d *database) read(ctx context.Context, f func(*tx) error) error {
	return readFrom(newTx(ctx, d.dialect, nil), d.reading, f)
}

// readFrom is database.read with a pool.
func readFrom(t *tx, pool *sql.DB, f func(*tx) error) error {
	begun, err := pool.BeginTx(t.ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return driverError{err}
	}
	defer begun.Rollback() //nolint:errcheck // nothing was written
	t.db = begun
	if t.dialect.settings != "" {
		t.exec(`SELECT ` + t.dialect.settings)
	}
	err = f(t)
	return cmp.Or(t.err, err)
}

// lookup runs single queries, without a transaction.
func (d *database) lookup(ctx context.Context) *tx { return newTx(ctx, d.dialect, d.reading) }

// close closes all connections and waits for those in use, for a while: pgx waits longer for each connection to a server
// that does not answer.
func (d *database) close() error {
	closed := make(chan error, 1)
	go func() {
		err := cmp.Or(d.writing.Close(), d.reading.Close())
		for d.writing.Stats().OpenConnections+d.reading.Stats().OpenConnections > 0 {
			time.Sleep(time.Millisecond)
		}
		d.release()
		closed <- err
	}()
	select {
	case err := <-closed:
		return err
	case <-time.After(statementTimeout):
		return nil
	}
}
