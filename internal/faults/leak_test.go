package faults_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/goleak"
)

// Nothing of the plugin goes on after Stop, in whatever state the ledger is.
func TestStopLeavesNoGoroutine(t *testing.T) {
	t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
	t.Setenv("AXRA_WEBHOOK_SECRET", secret)
	for _, test := range []struct {
		on   driver
		name string
		hurt func(*rig) (heal func()) // nil: the ledger is well
		runs int
	}{
		{sqlite, "ledger well", nil, inForm(5, 50)},
		{sqlite, "ledger cannot be made", (*rig).blockTheFolder, inForm(2, 10)},
		{sqlite, "ledger is another file", (*rig).writeAnotherFile, inForm(2, 10)},
		{sqlite, "write lock held", (*rig).holdTheWriteLock, inForm(2, 10)},
		{postgres, "ledger well", nil, inForm(5, 50)},
		{postgres, "server stopped", (*rig).takeAway, inForm(1, 10)},
		{postgres, "server paused", (*rig).pause, inForm(0, 10)},
	} {
		if test.runs == 0 {
			continue
		}
		t.Run(string(test.on)+", "+test.name, func(t *testing.T) {
			r := newRigToHurt(t, test.on)
			n := r.add("in process", options{})
			use := r.mustSell
			if test.hurt != nil {
				use = r.mustBeSafe
				defer test.hurt(r)()
			}
			r.loadAndStop(n, use) // what Caddy itself starts once and for all
			ignored := goleak.IgnoreCurrent()
			for range test.runs {
				r.loadAndStop(n, use)
			}
			var err error
			for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
				if err = goleak.Find(ignored); err == nil {
					return
				}
			}
			t.Error(err)
		})
	}
}

// blockTheFolder puts a file where the ledger's folder should be.
func (r *rig) blockTheFolder() (heal func()) {
	writeFile(r.t, r.database, "")
	r.database = filepath.Join(r.database, "ledger.db")
	return func() {}
}

func (r *rig) pause() (heal func()) {
	r.server.Pause()
	return r.server.Resume
}

func (r *rig) writeAnotherFile() (heal func()) {
	writeFile(r.t, r.database, strings.Repeat("This is no database.\n", 1000))
	return func() {}
}

// holdTheWriteLock creates the file and keeps a transaction open.
func (r *rig) holdTheWriteLock() (heal func()) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.database+"?_pragma=journal_mode(WAL)&_txlock=immediate")
	must(r.t, err)
	held, err := db.Begin()
	must(r.t, err)
	return func() {
		held.Rollback()
		db.Close()
	}
}

// loadAndStop runs the node within the test's own process.
func (r *rig) loadAndStop(n *node, use func(*node)) {
	r.t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.Replace(
		r.caddyfile(n, options{}), "admin 127.0.0.1:"+n.admin, "admin off", 1)), nil)
	must(r.t, err)
	must(r.t, caddy.Load(config, true))
	use(n)
	must(r.t, caddy.Stop())
	n.transport.CloseIdleConnections()
}

func (r *rig) mustSell(n *node) {
	v := newVisitor()
	until(r.t, 10*time.Second, "a visitor is sent to a checkout", func() bool { return r.beginAt(r.t.Context(), n, paid, v) == nil })
	r.mustDeliver(n, completed(v.session))
	r.mustRead(v, n)
}

func (r *rig) mustBeSafe(n *node) {
	var a answer
	until(r.t, 10*time.Second, "an answer", func() (ok bool) { // Caddy may reset a connection where it has just stopped
		var err error
		a, err = newVisitor().open(r.t.Context(), n, paid)
		return err == nil
	})
	if a.status != http.StatusServiceUnavailable {
		r.t.Errorf("without a ledger: %s", a)
	}
}
