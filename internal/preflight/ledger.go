package preflight

import (
	"context"
	"os"
	"time"

	"github.com/caddy-axra/paywall/ledger"
)

// checkLedger looks at where the ledger is. It opens no file, and only reads from a server.
func (c *checker) checkLedger(r *report) {
	location := c.Ledger.Location
	exists, faults := c.examineLedger()
	for _, fault := range faults {
		r.add(severity(fault.IsWarning), location, fault.Fix, "%s", fault.Problem)
	}
	switch {
	case len(faults) > 0:
	case exists:
		r.ok(location, "it exists, and can be read and written")
	default:
		r.ok(location, "new: Caddy creates it when it starts. If there should be purchases, the path or URL is wrong")
	}
	if !c.Ledger.Named || c.Ledger.URL == "" && os.Geteuid() == 0 {
		r.note(location, "whether the service has the same ledger, and may write to it: run this command as its user")
	}
}

func (c *checker) examineLedger() (exists bool, faults []*ledger.Fault) {
	if c.Ledger.URL == "" {
		return ledger.CheckFile(c.Ledger.Location)
	}
	if verifies, err := ledger.VerifiesServer(c.Ledger.URL); err == nil && !verifies {
		faults = append(faults, &ledger.Fault{
			Problem:   "the server's certificate is not checked: someone on the network could change what was paid",
			Fix:       "add sslmode=verify-full to the URL, and sslrootcert=FILE if no public authority has issued it",
			IsWarning: true,
		})
	}
	ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
	defer cancel()
	state, err := ledger.CheckServer(ctx, c.Ledger.URL)
	if err != nil {
		faults = append(faults, &ledger.Fault{
			Problem: "the server cannot be asked, so nothing could be sold: " + err.Error(),
			Fix: "start the server, let this machine reach it (name server, firewall, pg_hba.conf), " +
				"and correct user, password and database in the URL",
		})
	}
	return state.Exists, append(faults, state.Faults...)
}
