package ledger

import "context"

// database is an opened database: an SQLite file, or a PostgreSQL server.
type database interface {
	// transaction runs f with the write lock of the whole database, and commits. Only one goroutine may call it
	// at a time.
	transaction(f func(context.Context, *tx) error) error
	// read runs f in a transaction that sees one state of the database.
	read(ctx context.Context, f func(context.Context, *tx) error) error
	// lookup runs single queries, without a transaction.
	lookup() *tx
	// snapshot runs f with the whole ledger as it is at one moment, for as long as f takes.
	snapshot(ctx context.Context, f func(queries) error) error
	// check reports why the database may not be used. Each poll asks.
	check(ctx context.Context) error
	// checkPlace reports whether what was opened is still in its place, before "not found" is believed.
	checkPlace(ctx context.Context) error
	// isLost reports whether an error is that of a connection that broke, so that it says nothing about the
	// statement.
	isLost(err error) bool
	// dropIdle closes the connections that nobody uses: most often they were lost with one that was.
	dropIdle()
	// isFault reports whether an error is the database's, so that other statements would fail, too.
	isFault(err error) bool
	close() error
}

// dialect is what differs in the SQL of the databases.
type dialect struct {
	tables  string              // lists the names of the ledger's tables
	migrate func(string) string // makes a migration's script fit
	analyze string              // makes the planner statistics, after many rows were inserted
}

func (o Options) dialect() dialect {
	if o.URL != "" {
		return postgresDialect
	}
	return sqliteDialect
}
