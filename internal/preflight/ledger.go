package preflight

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	exists, faults := ledger.CheckFile(at.Path)
	r.faults(at.Path, faults)
	r.state(at.Path, exists)
}

func (c *checker) checkServer(r *report, url, location string) {
	if verifies, err := ledger.VerifiesServer(url); err == nil && !verifies {
		r.warn(location, "add sslmode=verify-full to the URL, and sslrootcert=FILE if the server's certificate is not from a public authority",
			"the server's certificate is not checked: someone on the network could read the password and change what was paid")
	}
	ctx, cancel := context.WithTimeout(c.ctx, serverTimeout)
	defer cancel()
	state, err := ledger.CheckServer(ctx, url)
	var fault *ledger.Fault
	switch {
	case errors.As(err, &fault):
		r.faults(location, []*ledger.Fault{fault})
	case err != nil:
		r.fail(location, "start the server, and let this machine reach it (name server, firewall, pg_hba.conf); without it Caddy starts, but sells nothing",
			"the server cannot be asked: %s", err)
	default:
		r.faults(location, state.Faults)
		r.state(location, state.Exists)
	}
}

// state reports a ledger without faults.
func (r *report) state(location string, exists bool) {
	switch {
	case len(r.findings) > 0:
	case exists:
		r.ok(location, "it exists, and can be read and written")
	default:
		r.ok(location, "new: Caddy creates it when it starts. If there should be purchases, the path or URL is wrong")
	}
}
