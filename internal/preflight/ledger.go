package preflight

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// checkLedger looks at where the ledger is. It opens no file, and only reads from a server.
func (c *checker) checkLedger(r *report) {
	location, check := c.Ledger.Path, ledger.CheckFile
	if c.Ledger.URL != "" {
		location, check = c.Ledger.Location, c.checkServer
	}
	exists, faults := check(cmp.Or(c.Ledger.URL, c.Ledger.Path))
	for _, fault := range faults {
		level := "error"
		if fault.IsWarning {
			level = "warning"
		}
		r.add(level, location, fault.Fix, "%s", fault.Problem)
	}
	switch {
	case len(faults) > 0:
	case exists:
		r.ok(location, "it exists, and can be read and written")
	default:
		r.ok(location, "new: Caddy creates it when it starts. If there should be purchases, the path or URL is wrong")
	}
	if !c.Ledger.Named {
		r.note("whether the service has the same ledger: without `database sqlite PATH` it is in the data directory of the user that runs Caddy, here %s", location)
	}
	if c.Ledger.URL == "" && os.Geteuid() == 0 {
		r.note("whether Caddy's user may write to %s: this command runs as root", filepath.Dir(location))
	}
}

func (c *checker) checkServer(databaseURL string) (exists bool, faults []*ledger.Fault) {
	if verifies, err := ledger.VerifiesServer(databaseURL); err == nil && !verifies {
		faults = append(faults, &ledger.Fault{
			Problem:   "the server's certificate is not checked: someone on the network could read the password and change what was paid",
			Fix:       "add sslmode=verify-full to the URL, and sslrootcert=FILE if the server's certificate is not from a public authority",
			IsWarning: true,
		})
	}
	ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
	defer cancel()
	state, err := ledger.CheckServer(ctx, databaseURL)
	if err != nil {
		faults = append(faults, &ledger.Fault{
			Problem: "the server cannot be asked: " + err.Error(),
			Fix: "start the server, let this machine reach it (name server, firewall, pg_hba.conf), and correct user, password and database " +
				"in the URL; without it Caddy starts, but sells nothing",
		})
	}
	return state.Exists, append(faults, state.Faults...)
}
