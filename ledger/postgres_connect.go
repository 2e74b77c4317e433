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
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func openPool(connector driver.Connector, size int) *sql.DB {
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool
}

// warmUp makes the connections that read and are not there: the next visitors would wait for them.
func (d *postgresDatabase) warmUp(ctx context.Context) error {
	var made []*sql.Conn
	defer func() {
		for _, conn := range made {
			conn.Close() // it goes back to the pool
		}
	}()
	for range readers - d.reading.Stats().InUse {
		conn, err := d.reading.Conn(ctx)
		if err != nil {
			return err
		}
		made = append(made, conn)
	}
	return nil
}

// refill replaces the connections that were lost: by a fault, or as somebody hung up amid a query.
func (d *postgresDatabase) refill() {
	if d.reading.Stats().OpenConnections >= readers || !d.refilling.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer d.refilling.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
		defer cancel()
		_ = d.warmUp(ctx) // the next check tries again
	}()
}

func (d *postgresDatabase) dropIdle() { closeIdle(d.reading, readers) }

// closeIdle closes the idle connections of a pool. New ones may lead to another server.
func closeIdle(pool *sql.DB, size int) {
	pool.SetMaxIdleConns(0)
	pool.SetMaxIdleConns(size)
}

func (d *postgresDatabase) isLost(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Severity == "FATAL" || refused.Code == readOnlyTransaction ||
			strings.HasPrefix(refused.Code, "08") || strings.HasPrefix(refused.Code, "57P")
	}
	var failed *pgconn.ConnectError
	var broken net.Error // such as a deadline that has passed
	if errors.As(err, &failed) || errors.As(err, &broken) {
		return true
	}
	return slices.ContainsFunc(lostErrors, func(known error) bool { return errors.Is(err, known) })
}

// readOnlyTransaction is what a server says that became a standby: another one may take its place.
const readOnlyTransaction = "25006"

// lostErrors are those of connections that are closed.
var lostErrors = []error{driver.ErrBadConn, sql.ErrConnDone, pgconn.ErrConnClosed, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, context.Canceled}

// isFault leaves out values that are none for PostgreSQL, or too long.
func (d *postgresDatabase) isFault(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return !strings.HasPrefix(refused.Code, "22") && !strings.HasPrefix(refused.Code, "54")
	}
	return d.isLost(err)
}

// pausingConnector does not connect for a while after a connection could not be made.
type pausingConnector struct {
	driver.Connector

	mu     sync.Mutex
	failed time.Time
	err    error
}

func (c *pausingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := c.lastError(); err != nil {
		return nil, err
	}
	conn, err := c.Connector.Connect(ctx)
	if wasTerminated(err) {
		conn, err = c.Connector.Connect(ctx) // the server is up
	}
	if err != nil && !wasTerminated(err) && !errors.Is(ctx.Err(), context.Canceled) { // a cancelled call says nothing about the server
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed, c.err = time.Now(), err
	}
	return conn, err
}

// wasTerminated reports whether an administrator ended the connection while it was made.
func wasTerminated(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "57P01"
}

func (c *pausingConnector) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.failed) < dialPause {
		return c.err
	}
	return nil
}
