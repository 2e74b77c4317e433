package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// ErrURL means that a PostgreSQL URL cannot be read. The URL holds a password, so nothing of it is in the error.
var ErrURL = errors.New("the URL of the database cannot be read: write postgres://user:password@host:5432/database, " +
	"with %-escapes for the special characters of the password")

// Fault is a problem of the place where a ledger is or would be, and the fix.
type Fault struct {
	Problem, Fix string
	IsWarning    bool // it can be used all the same
}

func (f *Fault) Error() string { return f.Problem + ": " + f.Fix }

var (
	errStandby  = &Fault{Problem: "the server is a standby, so its rows may be old", Fix: "name the primary in the URL"}
	errReadOnly = &Fault{Problem: "the server is read-only", Fix: "turn default_transaction_read_only off for this database and user"}
	errAsync    = &Fault{
		Problem: "synchronous_commit is off, so an acknowledged payment could be lost",
		Fix:     "turn it on for this user, `ALTER ROLE … SET synchronous_commit = on`",
	}
	errNotUTF8      = &Fault{Problem: "the database is not in UTF-8", Fix: "create one with ENCODING 'UTF8'"}
	errMayNotCreate = &Fault{Problem: "this user may not create the schema axra", Fix: "let the database's owner do `GRANT CREATE ON DATABASE … TO …`"}
	errNotOurs      = &Fault{Problem: "the schema axra belongs to another user, and this one may not use it", Fix: "name its owner in the URL"}
)

// CheckURL reads the URL of a PostgreSQL database and returns its server and database, without user and password. It
func CheckURL(rawURL string) (location string, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(config.Host, "/") {
		return "postgres:" + config.Host + "/" + config.Database, nil
	}
	return "postgres://" + net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database, nil
}

// MayHoldPassword reports whether a URL holds a password, or might.
func MayHoldPassword(rawURL string) bool {
	parsed, err := url.Parse(rawURL)
	if err != nil || hasUnescapedPassword(rawURL) {
		return true
	}
	_, inAuthority := parsed.User.Password()
	return inAuthority || parsed.Query().Has("password") || parsed.Query().Has("sslpassword")
}

// hasUnescapedPassword reports whether a special character of the password is not escaped: part of the password would
// be shown as the host or the database. A space may hide a parameter.
func hasUnescapedPassword(rawURL string) bool {
	_, rest, _ := strings.Cut(rawURL, "://")
	authority, after := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, after = rest[:end], rest[end:]
	}
	return strings.Count(authority, "@") > 1 || strings.Contains(after, "@") || strings.ContainsAny(rawURL, " \t\r\n")
}

func parseURL(rawURL string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(rawURL, "postgres://") && !strings.HasPrefix(rawURL, "postgresql://") || hasUnescapedPassword(rawURL) {
		return nil, ErrURL
	}
	config, err := pgx.ParseConfig(rawURL)
	var missing *fs.PathError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("a file that the URL of the database names cannot be read: %w", missing)
	case err != nil:
		return nil, ErrURL
	}
	// A transaction pooler gives each transaction another connection, so nothing is prepared.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	if config.ConnectTimeout == 0 || config.ConnectTimeout > statementTimeout {
		config.ConnectTimeout = statementTimeout
	}
	if hasOtherServers(config) {
		// A server that does not answer leaves time to ask the next one, within that of a poll.
		tries := 1 + len(config.Fallbacks)
		config.ConnectTimeout = min(config.ConnectTimeout, pollTimeout*9/10/time.Duration(tries))
	}
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "caddy-axra"
	}
	return config, nil
}

func hasOtherServers(config *pgx.ConnConfig) bool {
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != config.Host || f.Port != config.Port
	})
}

// VerifiesServer reports whether a connection is encrypted and the server's certificate is checked, or the server is on
// this machine. Without that, whoever is on the way may read the password and change what was paid.
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

func isHere(host string) bool {
	if network, _ := pgconn.NetworkAddress(host, 0); network == "unix" || strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// ServerState is what CheckServer finds.
type ServerState struct {
	Faults       []*Fault // why the server cannot keep a ledger
	Exists       bool     // there is a ledger
	Installation string   // of the ledger; empty: a Caddy has yet to make it
	HasPayments  bool     // something was sold
}

// CheckServer checks a PostgreSQL server for use by a ledger. It only reads. The error is why it cannot be checked.
func CheckServer(ctx context.Context, rawURL string) (ServerState, error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return ServerState{}, err
	}
	if !hasOtherServers(config) {
		config.ValidateConnect = nil // tells a standby from a server that is down
	}
	pool := openPool(stdlib.GetConnector(*config), 1)
	defer pool.Close()
	reading, err := pool.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return ServerState{}, explainConnect(err)
	}
	defer reading.Rollback() //nolint:errcheck // nothing was written
	t := &tx{ctx: ctx, db: qualified{reading}}
	state := readServer(t)
	if len(state.Faults) == 0 && state.Exists {
		t.get(`SELECT EXISTS (SELECT 1 FROM payments)`, nil, &state.HasPayments)
		t.get(`SELECT id FROM installation`, nil, &state.Installation)
	}
	return state, t.err
}

// explainConnect reduces an error to one cause: pgx repeats it for each address of the server. Most causes are a Fault.
func explainConnect(err error) error {
	var refused *pgconn.PgError
	switch {
	case !errors.As(err, &refused) && strings.Contains(err.Error(), "server refused TLS"):
		return &Fault{
			Problem: "the server offers no encrypted connection",
			Fix:     "turn on `ssl` at the server; on the same machine, leave `sslmode` out of the URL",
		}
	case refused == nil:
		return err
	case refused.Code == "42501":
		return &Fault{Problem: "this user may not connect to the database: " + refused.Message, Fix: "run `GRANT CONNECT ON DATABASE … TO …` as the database's owner"}
	case strings.HasPrefix(refused.Code, "28"):
		return &Fault{
			Problem: "the server refuses the user or the password: " + refused.Message,
			Fix:     "correct user and password in the URL of `database postgres`",
		}
	case refused.Code == "3D000":
		return &Fault{
			Problem: "the server has no such database: " + refused.Message,
			Fix:     "create it, `CREATE DATABASE … ENCODING 'UTF8'`, or correct the URL of `database postgres`",
		}
	}
	return refused
}

// readServer finds out whether there is a ledger, and why there cannot be one.
func readServer(t *tx) (state ServerState) {
	faults := []*Fault{errStandby, errReadOnly, errAsync, errNotUTF8, errMayNotCreate, errNotOurs}
	found := make([]bool, len(faults))
	t.get(`
		SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'installation'),
			pg_is_in_recovery(),
			current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery(),
			current_setting('synchronous_commit') = 'off',
			current_setting('server_encoding') <> 'UTF8',
			n.oid IS NULL AND NOT has_database_privilege(current_database(), 'CREATE'),
			n.oid IS NOT NULL AND NOT has_schema_privilege(n.oid, 'USAGE') OR EXISTS (
				SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, 'INSERT'))
		FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'axra'`,
		nil, &state.Exists, &found[0], &found[1], &found[2], &found[3], &found[4], &found[5])
	for i, fault := range faults {
		if found[i] {
			state.Faults = append(state.Faults, fault)
		}
	}
	return state
}
