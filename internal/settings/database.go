package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/ledger"
)

// Database says where purchases are kept: in an SQLite file, or in PostgreSQL if there is a URL.
type Database struct {
	// Path is the absolute path of an SQLite database. The default is `axra/ledger.db` in Caddy's data directory. Caddy
	// creates the file with mode 0600 when it first starts. It must not be on a network file system.
	Path string `json:"path,omitempty"`

	// URL is that of a PostgreSQL database, such as `postgres://user:password@db.example.com/shop?sslmode=verify-full`.
	// It holds a password, so it is a placeholder: `{env.AXRA_DATABASE_URL}` or `{file./run/secrets/database_url}`. The
	// tables are created in a schema `axra` of that database, so other programs may use it too. Several Caddy servers
	// may share one database.
	URL string `json:"url,omitempty"`
}

const (
	writePostgres = "write `database postgres {env.AXRA_DATABASE_URL}`"
	writeSQLite   = "write `database sqlite /var/lib/axra/ledger.db`"
)

// ParseDatabase reads the arguments of the option database.
func ParseDatabase(args []string) (d Database, err error) {
	switch {
	case len(args) == 2 && args[0] == "postgres":
		d.URL = args[1]
	case (len(args) == 1 || len(args) == 2) && args[0] == "sqlite":
		d.Path = strings.Join(args[1:], "")
	default:
		return d, errors.New("database takes a driver and an address: " + writeSQLite + ", or " + writePostgres)
	}
	return d, d.check()
}

// check returns the errors that can be found without the environment of the running Caddy. Errors quote no value: a
// misplaced one could be a URL with a password.
func (d Database) check() error {
	switch {
	case d.Path != "" && d.URL != "":
		return errors.New("database takes a path or a URL: " + writeSQLite + ", or " + writePostgres)
	case d.URL != "":
		return CheckPlaceholder("the URL of database postgres", d.URL)
	case d.Path != "" && !strings.Contains(d.Path, "{"):
		return checkPath(d.Path)
	}
	return nil
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("database sqlite needs an absolute path: " + writeSQLite + "; for the default path, set HOME or XDG_DATA_HOME")
	}
	return nil
}

// Location resolves the address of the database: the path of a file, or a URL.
func (d Database) Location() (path, url string, err error) {
	if err := d.check(); err != nil {
		return "", "", err
	}
	if d.URL != "" {
		if url, err = Secret("database postgres", d.URL); err != nil {
			return "", "", err
		}
		if _, err := ledger.CheckURL(url); err != nil {
			return "", "", fmt.Errorf("database postgres: %w", err)
		}
		return "", url, nil
	}
	path = filepath.Join(caddy.AppDataDir(), "axra", "ledger.db")
	if d.Path != "" {
		path = resolve(d.Path)
	}
	if path == "" {
		return "", "", fmt.Errorf("database sqlite %s is empty in the running Caddy: set that variable and restart", d.Path)
	}
	return filepath.Clean(path), "", checkPath(path)
}
