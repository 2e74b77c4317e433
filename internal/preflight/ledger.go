package preflight

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// serverTimeout is how long the check waits for a database server.
const serverTimeout = 3 * time.Second

// checkLedger looks at where the ledger is. It opens no file, and only reads from a server.
func (c *checker) checkLedger(r *report) {
	at := c.Ledger
	if at.URL != "" {
		c.checkServer(r, at.URL, at.Location)
		return
	}
	if !at.Named {
		c.note("whether the service has the same ledger: without `database sqlite PATH` it is in the data directory of the user that runs Caddy, here %s", at.Path)
	}
	if os.Geteuid() == 0 {
		c.note("whether Caddy's user may write to %s: this command runs as root", filepath.Dir(at.Path))
	}
	checkLedgerFile(r, at.Path)
}

func (c *checker) checkServer(r *report, url, location string) {
	if verifies, err := ledger.VerifiesServer(url); err == nil && !verifies {
		r.warn(location, "add sslmode=verify-full to the URL, and sslrootcert=FILE if the server's certificate is not from a public authority",
			"the server's certificate is not checked: someone on the network could read the password and change what was paid")
	}
	ctx, cancel := context.WithTimeout(c.ctx, serverTimeout)
	defer cancel()
	state, err := ledger.CheckServer(ctx, url)
	switch {
	case errors.Is(err, ledger.ErrCredentials):
		r.fail(location, "correct user and password in the URL of `database postgres`", "%s", err)
	case errors.Is(err, ledger.ErrNoDatabase):
		r.fail(location, "create it, `CREATE DATABASE … ENCODING 'UTF8'`, or correct the URL of `database postgres`", "%s", err)
	case errors.Is(err, ledger.ErrMayNotConnect):
		r.fail(location, "run `GRANT CONNECT ON DATABASE … TO …` as the database's owner", "%s", err)
	case errors.Is(err, ledger.ErrNoTLS):
		r.fail(location, "turn on `ssl` at the server; on the same machine, leave `sslmode` out of the URL", "%s", err)
	case err != nil:
		r.fail(location, "start the server, and let this machine reach it (name server, firewall, pg_hba.conf); without it Caddy starts, but sells nothing",
			"the server cannot be asked: %s", err)
	case len(state.Faults) > 0:
		for _, fault := range state.Faults {
			r.fail(location, fault.Fix, "%s", fault.Problem)
		}
	case state.HasPayments:
		r.ok(location, "it exists (installation %s), has payments, and can be read and written", state.Installation)
	case state.Exists:
		r.ok(location, "it exists (installation %s), without a payment so far, and can be read and written", state.Installation)
	default:
		r.ok(location, "new: Caddy creates it when it starts, in the schema axra. If there should be purchases, the URL is wrong")
	}
}

// checkLedgerFile is about an SQLite database, and the files that SQLite keeps beside it.
func checkLedgerFile(r *report, path string) {
	existing, err := ledger.ExistingDirectory(path)
	if located := ledger.CheckLocation(path); located != nil || err != nil {
		r.fail(path, "write `database sqlite` with an absolute path on a local disk, such as /var/lib/axra/ledger.db", "no ledger can be there: %s", cmp.Or(located, err))
		return
	}
	directory := filepath.Dir(path)
	_, err = os.Stat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !isNew:
		r.fail(path, "let Caddy's user read its directory", "it cannot be read: %s", err)
	case isNew && !isWritable(existing):
		r.fail(path, "create "+directory+", and let Caddy's user own it", "it does not exist yet, and this user may not create it below %s", existing)
	case !isWritable(existing):
		r.fail(directory, "let Caddy's user own it", "this user may not write there, and SQLite keeps files beside the ledger")
	}
	if mode := modeOf(directory); mode&0o022 != 0 && mode&os.ModeSticky == 0 {
		r.warn(directory, "chmod go-w "+directory, "other users of this machine may replace files there")
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if _, err := os.Stat(name); err == nil {
			checkRights(r, name)
		}
	}
	switch {
	case isNew && isWritable(existing):
		r.ok(path, "new: it does not exist yet, and Caddy creates it when it starts. If there should be purchases, the path is wrong")
	case len(r.findings) == 0:
		r.ok(path, "it exists, and can be read and written")
	}
}

// modeOf are the rights of a file, 0 if there is none, or on Windows.
func modeOf(name string) fs.FileMode {
	info, err := os.Stat(name)
	if err != nil || runtime.GOOS == "windows" {
		return 0
	}
	return info.Mode()
}

func checkRights(r *report, name string) {
	switch {
	case !isReadable(name), !isWritable(name):
		r.fail(name, "run this as Caddy's user; if it is, chown the file to that user", "this user may not read and write it")
	case modeOf(name)&0o077 != 0:
		r.warn(name, "chmod 600 "+name, "other users of this machine may read it, and it holds the signing keys")
	}
	owner, ok := ownerOf(name)
	if expected, _ := ownerOf(filepath.Dir(name)); ok && owner != expected && expected != 0 { // root may write to any
		r.fail(name, "chown it to the owner of its directory",
			"it belongs to user %d and its directory to user %d, so Caddy may not write it: was it created by a root shell?", owner, expected)
	}
}
