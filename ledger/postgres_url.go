package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrURL means that a PostgreSQL URL cannot be read. The URL holds a password, so nothing of it is in the error.
var ErrURL = errors.New("the URL of the database cannot be read: write postgres://user:password@host:5432/database, " +
	"with %-escapes for the special characters of the password")

// CheckURL reads the URL of a PostgreSQL database and returns its server and database, without user and
// password. It connects to nothing. Where it cannot be read, it returns ErrURL; a certificate that it names may be
// missing, too.
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

// MayHoldPassword reports whether a URL holds a password, or cannot be told not to.
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
	before, after := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		before, after = rest[:end], rest[end:]
	}
	return strings.Count(before, "@") > 1 || strings.Contains(after, "@") || strings.ContainsAny(rawURL, " \t\r\n")
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
	isOther := func(f *pgconn.FallbackConfig) bool { return f.Host != config.Host || f.Port != config.Port }
	if slices.ContainsFunc(config.Fallbacks, isOther) {
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
