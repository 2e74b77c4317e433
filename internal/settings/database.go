package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/ledger"
)

// Database says where purchases are kept.
type Database struct {
	// Driver is `sqlite`, which is the default, or `postgres`.
	Driver string `json:"driver,omitempty"`

	// Path is the absolute path of an SQLite database. The default is `axra/ledger.db` in Caddy's data
	// directory. Caddy creates the file with mode 0600 when it first starts. It must not be on a network
	// file system.
	Path string `json:"path,omitempty"`

	// URL is that of a PostgreSQL database, such as
	// `postgres://user:password@db.example.com/shop?sslmode=verify-full`. It holds a password, so it is a placeholder:
	// `{env.AXRA_DATABASE_URL}` or `{file./run/secrets/database_url}`. The tables are created in a schema `axra` of
	// that database, so other programs may use it too. Several Caddy servers may share one database.
	URL string `json:"url,omitempty"`
}

// Drivers of databases.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

const (
	writePostgres = "write `database postgres {env.AXRA_DATABASE_URL}`"
	writeSQLite   = "write `database sqlite /var/lib/axra/ledger.db`"
	writeDatabase = "write `database sqlite`, `database sqlite /var/lib/axra/ledger.db` or `database postgres {env.AXRA_DATABASE_URL}`"
)

// ParseDatabase reads the arguments of the option database.
func ParseDatabase(args []string) (*Database, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, errors.New("database takes a driver and an address: " + writeDatabase)
	}
	database, at := &Database{Driver: args[0]}, strings.Join(args[1:], "")
	if database.Driver == Postgres {
		database.URL = at
		return database, database.Check()
	}
	database.Path = at
	if err := database.Check(); err != nil || strings.HasPrefix(at, "{") { // the path is known in the running Caddy only
		return database, err
	}
	_, _, err := database.Location()
	return database, err
}

// Check returns the errors that can be found without the environment of the running Caddy. Errors quote no value: a
// misplaced one could be a URL with a password.
func (d *Database) Check() error {
	switch {
	case d == nil:
	case isURL(d.Driver), isURL(d.Path):
		return errors.New("axra: the URL of a database goes behind `database postgres`, as a placeholder: " + writePostgres)
	case d.Driver == Postgres:
		return d.checkPostgres()
	case d.Driver != "" && d.Driver != SQLite:
		return fmt.Errorf("axra: database %s is unknown: %s", d.Driver, writeDatabase)
	case d.URL != "":
		return errors.New("axra: database sqlite takes no URL: " + writeSQLite + ", or " + writePostgres)
	}
	return nil
}

func (d *Database) checkPostgres() error {
	switch {
	case d.Path != "":
		return errors.New("axra: database postgres takes no path: " + writePostgres)
	case d.URL == "":
		return errors.New("axra: database postgres needs a URL: " + writePostgres)
	case NeedsSecrecy(d.URL):
		if err := CheckPlaceholder("the URL of database postgres", d.URL); err != nil {
			return fmt.Errorf("axra: %w", err)
		}
	default:
		if _, err := ledger.CheckURL(d.URL); errors.Is(err, ledger.ErrURL) { // a certificate may be on another machine
			return fmt.Errorf("axra: database postgres: %w", err)
		}
	}
	return nil
}

func isURL(text string) bool { return strings.Contains(text, "://") }

// NeedsSecrecy reports whether a database URL is a placeholder, or must be one.
func NeedsSecrecy(url string) bool { return strings.Contains(url, "{") || ledger.MayHoldPassword(url) }

// Location resolves the address of the database: the path of a file, or a URL.
func (d *Database) Location() (path, url string, err error) {
	if err := d.Check(); err != nil {
		return "", "", err
	}
	if d == nil {
		d = new(Database)
	}
	if d.Driver == Postgres {
		url, err = postgresURL(d.URL)
		return "", url, err
	}
	path, err = sqlitePath(d.Path)
	return path, "", err
}

func sqlitePath(configured string) (string, error) {
	if configured == "" {
		folder := caddy.AppDataDir()
		if !filepath.IsAbs(folder) {
			return "", errors.New("axra: Caddy has no data directory of its own here: set HOME or XDG_DATA_HOME, or " + writeSQLite)
		}
		return filepath.Join(folder, "axra", "ledger.db"), nil
	}
	path := resolve(configured)
	switch {
	case path == "":
		return "", fmt.Errorf("axra: database sqlite %s is empty in the running Caddy: set that variable and restart", configured)
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("axra: database sqlite %s is not an absolute path: write for example `database sqlite /var/lib/axra/ledger.db`", path)
	}
	return filepath.Clean(path), nil
}

func postgresURL(configured string) (url string, err error) {
	url = configured
	if NeedsSecrecy(configured) {
		if url, err = Secret("database postgres", configured); err != nil {
			return "", err
		}
	}
	if _, err := ledger.CheckURL(url); err != nil {
		return "", fmt.Errorf("axra: database postgres: %w", err)
	}
	return url, nil
}
