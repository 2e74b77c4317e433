package paywall

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// maxSkew is by how much clocks may differ: `nbf` of tokens and the ages of events
// are looked at in seconds and minutes.
const maxSkew = 30 * time.Second

// serverTimeout is how long the check waits for a database server.
const serverTimeout = 3 * time.Second

// checkLedger looks at where the ledger is. It opens no file, and only reads from a server.
func (e *examination) checkLedger() []finding {
	found := &remarks{check: "ledger"}
	if url := e.app.store.at.url; url != "" {
		e.checkServer(found, url, e.app.ledger.Location())
		return found.list
	}
	path := e.app.ledger.Path()
	if !e.namesDatabase() {
		e.note("whether the service has the same ledger: without `database sqlite PATH` it lies in the data directory of whoever runs Caddy, here %s", path)
	}
	e.checkLedgerPath(found, path)
	return found.list
}

// checkServer looks at a PostgreSQL server.
func (e *examination) checkServer(found *remarks, url, location string) {
	if verifies, err := ledger.VerifiesServer(url); err == nil && !verifies {
		found.warn(location, "add sslmode=verify-full to the URL, and sslrootcert=FILE where the server's certificate is not from a public authority",
			"the server's certificate is not checked: whoever is on the way may read the password and change what was paid")
	}
	ctx, cancel := context.WithTimeout(e.ctx, serverTimeout)
	defer cancel()
	state, err := ledger.CheckServer(ctx, url)
	switch {
	case errors.Is(err, ledger.ErrCredentials):
		found.fail(location, "correct user and password in the URL of `database postgres`", "%s", err)
	case errors.Is(err, ledger.ErrNoDatabase):
		found.fail(location, "create it, `CREATE DATABASE … ENCODING 'UTF8'`, or correct the URL of `database postgres`", "%s", err)
	case errors.Is(err, ledger.ErrMayNotConnect):
		found.fail(location, "let the database's owner do `GRANT CONNECT ON DATABASE … TO …`", "%s", err)
	case errors.Is(err, ledger.ErrNoTLS):
		found.fail(location, "turn on `ssl` at the server; on the same machine, leave `sslmode` out of the URL", "%s", err)
	case err != nil:
		found.fail(location, "start the server, and let this machine reach it (name server, firewall, pg_hba.conf); without it Caddy starts, but sells nothing",
			"the server cannot be asked: %s", err)
	}
	for _, fault := range state.Faults {
		found.fail(location, fault.Fix, "%s", fault.Problem)
	}
	switch {
	case err != nil || len(state.Faults) > 0:
	case state.HasPayments:
		found.ok(location, "it is there, of installation %s, with payments, and can be read and written", state.Installation)
	case state.Exists:
		found.ok(location, "it is there, of installation %s, without a payment so far, and can be read and written", state.Installation)
	default:
		found.ok(location, "new: Caddy makes it when it starts, in the schema axra. If there should be purchases, the URL is wrong")
	}
}

// namesDatabase reports whether the configuration says where the ledger is.
func (e *examination) namesDatabase() bool {
	return e.app.Database != nil && (e.app.Database.Path != "" || e.app.Database.URL != "")
}

func (e *examination) checkLedgerPath(found *remarks, path string) {
	if err := ledger.CheckLocation(path); err != nil {
		found.fail(path, "write `database sqlite` with an absolute path on a local disk, such as /var/lib/axra/ledger.db", "no ledger can be there: %s", err)
		return
	}
	if isRoot() {
		e.note("whether the user of Caddy may write to %s: this command runs as root", filepath.Dir(path))
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		checkNewLedger(found, path)
	case err != nil:
		found.fail(path, "let the user of Caddy look into its directory", "it cannot be looked at: %s", err)
	default:
		checkLedgerFiles(found, path, info)
	}
}

// checkNewLedger is about a ledger that Caddy makes when it starts.
func checkNewLedger(found *remarks, path string) {
	directory, err := ledger.ExistingDirectory(path)
	switch {
	case err != nil:
		found.fail(path, "correct the path of `database sqlite`", "%s", err)
	case !isWritable(directory):
		found.fail(path, "make "+filepath.Dir(path)+", and let the user of Caddy own it", "it does not exist yet, and this user may not make it below %s", directory)
	default:
		checkDirectory(found, filepath.Dir(path), directory)
		found.ok(path, "new: it does not exist yet, and Caddy makes it when it starts. If there should be purchases, the path is wrong")
	}
}

// checkLedgerFiles is about a ledger that is there. The files beside it belong to it while Caddy runs.
func checkLedgerFiles(found *remarks, path string, info fs.FileInfo) {
	directory := filepath.Dir(path)
	checkDirectory(found, directory, directory)
	if !isWritable(directory) {
		found.fail(directory, "let the user of Caddy own it", "this user may not write there, and SQLite keeps files beside the ledger")
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		file, err := os.Stat(name)
		if err != nil {
			continue // they come and go
		}
		checkLedgerFile(found, name, file)
	}
	if len(found.list) == 0 {
		found.ok(path, "it is there, with %s, and can be read and written", inBytes(info.Size()))
	}
}

func checkLedgerFile(found *remarks, name string, info fs.FileInfo) {
	switch {
	case !isReadable(name), !isWritable(name):
		found.fail(name, "run this as the user of Caddy; if it is, chown the file to that user", "this user may not read and write it")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		found.warn(name, "chmod 600 "+name, "other users of this machine may read it, and it holds the signing keys")
	}
	if owner, expected, differ := foreignOwner(name); differ {
		found.fail(name, "chown it to the owner of its directory", "it belongs to user %d and its directory to user %d, so that Caddy may not write it: was it made by a root shell?", owner, expected)
	}
}

// checkDirectory finds directories in which others can replace the ledger. Missing ones are made with mode 0700.
func checkDirectory(found *remarks, directory, existing string) {
	if directory != existing || runtime.GOOS == "windows" {
		return
	}
	if info, err := os.Stat(existing); err == nil && info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
		found.warn(existing, "chmod go-w "+existing, "other users of this machine may replace files there")
	}
}

// checkClock finds a clock that cannot be right.
func (e *examination) checkClock() []finding {
	found := &remarks{check: "clock"}
	at := now()
	if year := at.Year(); year < 2025 || year > 2100 {
		found.fail("", fixClock, "it is %d by this machine's clock", year)
	}
	return found.orOK("%s", at.UTC().Format("2006-01-02 15:04 UTC"))
}

const fixClock = "set the clock, and keep it right with NTP (`timedatectl set-ntp true`)"

func checkSkew(found *remarks, whose string, theirs, ours time.Time) {
	if theirs.IsZero() {
		return
	}
	if skew := theirs.Sub(ours).Round(time.Second); skew.Abs() > maxSkew {
		found.warn(whose, fixClock, "its clock and this machine's are %s apart: access would begin and end at wrong times", skew.Abs())
	}
}
