package ledger

import (
	"context"
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

// CheckURL reads the URL of a PostgreSQL database and returns its server and database, without user and password.
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

// readURL refuses a URL whose password may have a special character that is not escaped: part of it would be shown as
// the host or the database. A space may hide a parameter.
func readURL(rawURL string) (_ *url.URL, ok bool) {
	parsed, err := url.Parse(rawURL)
	if err != nil || strings.ContainsAny(rawURL, " \t\r\n") {
		return nil, false
	}
	at := strings.Count(rawURL, "@")
	return parsed, at == 0 || at == 1 && parsed.User != nil
}

func parseURL(rawURL string) (*pgx.ConnConfig, error) {
	if parsed, ok := readURL(rawURL); !ok || parsed.Scheme != "postgres" && parsed.Scheme != "postgresql" {
		return nil, ErrURL
	}
	config, err := pgx.ParseConfig(rawURL)
	if missing := new(fs.PathError); errors.As(err, &missing) {
		return nil, fmt.Errorf("a file that the URL of the database names cannot be read: %w", missing)
	}
	if err != nil {
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
	return !slices.ContainsFunc(ways, func(way *pgconn.FallbackConfig) bool {
		address, _ := netip.ParseAddr(way.Host)
		isHere := strings.HasPrefix(way.Host, "/") || strings.EqualFold(way.Host, "localhost") || address.IsLoopback()
		return !isHere && (way.TLSConfig == nil || way.TLSConfig.InsecureSkipVerify)
	}), nil
}

// ServerState is what CheckServer finds.
type ServerState struct {
	Faults       []*Fault // why the server cannot keep a ledger
	Exists       bool     // there is a ledger
	Installation string   // of the ledger; empty: a Caddy has yet to make it
}

// CheckServer checks a PostgreSQL server for use by a ledger. It only reads. The error is why it cannot be checked.
func CheckServer(ctx context.Context, rawURL string) (state ServerState, err error) {
	config, err := parseURL(rawURL)
	if err != nil {
		return ServerState{}, err
	}
	if !hasOtherServers(config) {
		config.ValidateConnect = nil // tells a standby from a server that is down
	}
	pool := stdlib.OpenDB(*config)
	defer pool.Close()
	err = readFrom(newTx(ctx, postgresDialect, nil), pool, func(t *tx) error {
		if state = readServer(t); len(state.Faults) == 0 && state.Exists {
			t.get(`SELECT id FROM installation`, nil, &state.Installation)
		}
		return nil
	})
	return state, explainConnect(err)
}

// explainConnect reduces an error to its cause: pgx repeats it for each address of the server.
func explainConnect(err error) error {
	if refused := new(pgconn.PgError); errors.As(err, &refused) {
		return fmt.Errorf("the server refuses the connection: %s", refused.Message)
	}
	return err
}

var errAsync = &Fault{
	Problem: "synchronous_commit is off, so an acknowledged payment could be lost",
	Fix:     "turn it on for this user, `ALTER ROLE … SET synchronous_commit = on`",
}

// serverFaults are why a server cannot keep a ledger, by the conditions that find them. n is the schema axra.
var serverFaults = []struct {
	condition string
	fault     *Fault
}{
	{`pg_is_in_recovery()`, &Fault{Problem: "the server is a standby, so its rows may be old", Fix: "name the primary in the URL"}},
	{`current_setting('default_transaction_read_only') = 'on' AND NOT pg_is_in_recovery()`, &Fault{
		Problem: "the server is read-only", Fix: "turn default_transaction_read_only off for this database and user",
	}},
	{`current_setting('synchronous_commit') = 'off'`, errAsync},
	{`current_setting('server_encoding') <> 'UTF8'`, &Fault{Problem: "the database is not in UTF-8", Fix: "create one with ENCODING 'UTF8'"}},
	{`n.oid IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')`, &Fault{
		Problem: "this user may not create the schema axra", Fix: "let the database's owner do `GRANT CREATE ON DATABASE … TO …`",
	}},
	{`n.oid IS NOT NULL AND NOT has_schema_privilege(n.oid, 'USAGE') OR EXISTS (
		SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, 'INSERT'))`, &Fault{
		Problem: "the schema axra belongs to another user, and this one may not use it", Fix: "name its owner in the URL",
	}},
}

// readServer finds out whether there is a ledger, and why there cannot be one.
func readServer(t *tx) (state ServerState) {
	query := `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'installation')`
	found, targets := make([]bool, len(serverFaults)), into{&state.Exists}
	for i, known := range serverFaults {
		query, targets = query+", "+known.condition, append(targets, &found[i])
	}
	t.get(query+` FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'axra'`, nil, targets...)
	for i, known := range serverFaults {
		if found[i] {
			state.Faults = append(state.Faults, known.fault)
		}
	}
	return state
}
