package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Errors of CheckServer.
var (
	// ErrCredentials means that the server does not take the user or the password.
	ErrCredentials = errors.New("the server refuses the user or the password")
	// ErrNoDatabase means that the server has no database of that name.
	ErrNoDatabase = errors.New("the server has no such database")
	// ErrMayNotConnect means that the user has no right to connect to the database.
	ErrMayNotConnect = errors.New("this user may not connect to the database")
	// ErrNoTLS means that the URL wants an encrypted connection, and the server offers none.
	ErrNoTLS = errors.New("the server offers no encrypted connection")
)

// ServerState is what CheckServer finds.
type ServerState struct {
	// Faults say why the server cannot keep a ledger.
	Faults []Fault
	// Exists says that there is a ledger.
	Exists bool
	// Installation is that of the ledger; empty: a Caddy has yet to make it.
	Installation string
	// HasPayments says that something was sold.
	HasPayments bool
}

// Fault is what is wrong with a server, such as that it is a standby, and the fix.
type Fault struct{ Problem, Fix string }

// CheckServer looks at a PostgreSQL server as a ledger would use it. It only reads. The error says why it could not.
func CheckServer(ctx context.Context, rawURL string) (ServerState, error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return ServerState{}, err
	}
	if !slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != config.Host }) {
		config.ValidateConnect = nil // a standby shall be told from a server that is down
	}
	pool := openPool(stdlib.GetConnector(*config), 1)
	defer pool.Close()
	reading, err := pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return ServerState{}, explainConnect(err)
	}
	defer reading.Rollback() //nolint:errcheck // nothing was written
	return readServerState(ctx, postgresQueries{queries: reading})
}

// explainConnect leaves out of an error what is said for each address of the server.
func explainConnect(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		if strings.Contains(err.Error(), "server refused TLS") {
			return ErrNoTLS
		}
		return err
	}
	switch {
	case refused.Code == "42501":
		return fmt.Errorf("%w: %s", ErrMayNotConnect, refused.Message)
	case strings.HasPrefix(refused.Code, "28"):
		return fmt.Errorf("%w: %s", ErrCredentials, refused.Message)
	case refused.Code == "3D000":
		return fmt.Errorf("%w: %s", ErrNoDatabase, refused.Message)
	}
	return refused
}

func readServerState(ctx context.Context, q postgresQueries) (ServerState, error) {
	var isStandby, isReadOnly, isAsync, mayCreate, hasSchema, mayUse bool
	var encoding string
	err := q.QueryRowContext(ctx, `
		SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', current_setting('synchronous_commit') = 'off',
			current_setting('server_encoding'), has_database_privilege(current_database(), 'CREATE'),
			n.oid IS NOT NULL, COALESCE(has_schema_privilege(n.oid, 'USAGE'), false)
		FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'axra'`,
	).Scan(&isStandby, &isReadOnly, &isAsync, &encoding, &mayCreate, &hasSchema, &mayUse)
	if err != nil {
		return ServerState{}, err
	}
	var state ServerState
	if hasSchema && mayUse {
		if err := state.readLedger(ctx, q); err != nil {
			return state, err
		}
	}
	for _, fault := range []struct {
		found bool
		is    *serverFault
	}{
		{isStandby, errStandby},
		{isReadOnly && !isStandby, errReadOnly},
		{isAsync, errAsync},
		{encoding != "UTF8", errNotUTF8},
		{!hasSchema && !mayCreate, errMayNotCreate},
		{hasSchema && !mayUse, errNotOurs},
	} {
		if fault.found {
			state.add(fault.is)
		}
	}
	return state, nil
}

func (s *ServerState) add(f *serverFault) {
	s.Faults = append(s.Faults, Fault{Problem: f.problem, Fix: f.fix})
}

func (s *ServerState) readLedger(ctx context.Context, q postgresQueries) error {
	err := q.QueryRowContext(ctx, `SELECT to_regclass('axra.installation') IS NOT NULL`).Scan(&s.Exists)
	if err != nil || !s.Exists {
		return err
	}
	var mayWrite bool
	err = q.QueryRowContext(ctx, `
		SELECT has_table_privilege('axra.payments', 'SELECT') AND has_table_privilege('axra.payments', 'INSERT')`).Scan(&mayWrite)
	if err != nil || !mayWrite {
		s.add(errNotOurs)
		return err
	}
	if err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM payments)`).Scan(&s.HasPayments); err != nil {
		return err
	}
	return ignoreNoRows(q.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&s.Installation))
}

// VerifiesServer reports whether a connection is encrypted and the server's certificate is checked, or the server
// is on this machine. Without that, whoever is on the way may read the password and change what was paid.
func VerifiesServer(rawURL string) (bool, error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return false, err
	}
	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	isWeak := slices.ContainsFunc(ways, func(way *pgconn.FallbackConfig) bool {
		return !isHere(way.Host) && (way.TLSConfig == nil || way.TLSConfig.InsecureSkipVerify)
	})
	return !isWeak, nil
}

// isHere reports whether a host is a socket's directory or a loopback address.
func isHere(host string) bool {
	if network, _ := pgconn.NetworkAddress(host, 0); network == "unix" || strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
