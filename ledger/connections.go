package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func openPool(connector driver.Connector, size int) *sql.DB {
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool
}

func warmUp(ctx context.Context, pool *sql.DB, n int) error {
	var made []*sql.Conn
	defer func() {
		for _, conn := range made {
			conn.Close() // it goes back to the pool
		}
	}()
	for range n {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		made = append(made, conn)
	}
	return nil
}

// closeIdle closes the idle connections of a pool. New ones may lead to another server.
func closeIdle(pool *sql.DB, size int) {
	pool.SetMaxIdleConns(0)
	pool.SetMaxIdleConns(size)
}

func (d *postgresDatabase) dropIdle() { closeIdle(d.reading, readers) }

// refill replaces lost connections, so that the next visitors do not wait for them. A query that is cancelled loses its
// connection, too.
func (d *postgresDatabase) refill() {
	stats := d.reading.Stats()
	if stats.OpenConnections >= readers || !d.refilling.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer d.refilling.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
		defer cancel()
		_ = warmUp(ctx, d.reading, readers-stats.InUse) // the next check tries again
	}()
}

// readOnlyTransaction is the error of a server that became a standby: another one may have replaced it.
const readOnlyTransaction = "25006"

// lostErrors are those of connections that are closed.
var lostErrors = []error{driver.ErrBadConn, sql.ErrConnDone, pgconn.ErrConnClosed, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, context.Canceled}

// kindOf counts values that PostgreSQL cannot store, or that are too long, as the statement's own error.
func (d *postgresDatabase) kindOf(err error) errorKind {
	var refused *pgconn.PgError
	var failed *pgconn.ConnectError
	var broken net.Error // such as a deadline that has passed
	switch {
	case errors.As(err, &refused):
		class := refused.Code[:min(2, len(refused.Code))]
		switch {
		case refused.Severity == "FATAL", refused.Code == readOnlyTransaction, class == "08", strings.HasPrefix(refused.Code, "57P"):
			return lostConnection
		case class == "22", class == "54":
			return ownError
		}
		return databaseError
	case errors.As(err, &failed), errors.As(err, &broken),
		slices.ContainsFunc(lostErrors, func(known error) bool { return errors.Is(err, known) }):
		return lostConnection
	}
	return ownError
}

// dialPause is the pause after a failed connection. Without it, a stopped server is dialled hundreds of times a second.
const dialPause = 500 * time.Millisecond

// pausingConnector pauses after a connection could not be made.
type pausingConnector struct {
	driver.Connector
	last atomic.Pointer[failedDial]
}

type failedDial struct {
	at  time.Time
	err error
}

func (c *pausingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if last := c.last.Load(); last != nil && time.Since(last.at) < dialPause {
		return nil, last.err
	}
	conn, err := c.Connector.Connect(ctx)
	if wasTerminated(err) {
		conn, err = c.Connector.Connect(ctx) // the server is up
	}
	if err != nil && !wasTerminated(err) && !errors.Is(ctx.Err(), context.Canceled) { // a cancelled call says nothing about the server
		c.last.Store(&failedDial{time.Now(), err})
	}
	return conn, err
}

// wasTerminated reports whether an administrator ended the connection while it was made.
func wasTerminated(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "57P01"
}
