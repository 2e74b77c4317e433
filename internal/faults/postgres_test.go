package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/pgtest"
)

// D3: a node that starts while the database is down serves what no gate covers, asks webhooks to come again, and sells
// once the database is up.
func TestD3StartWhileTheServerIsDown(t *testing.T) {
	r := newRigToHurt(t, postgres)
	first := r.add("A", options{axra: unlimited}).start()
	known, paying := r.buyer(first), newVisitor()
	r.begin(first, paying)
	first.kill()
	r.server.Stop()

	n := r.add("B", options{axra: unlimited})
	began := time.Now()
	n.start()
	t.Logf("the node started after %s", time.Since(began).Round(10*time.Millisecond))
	for range inForm(10, 200) {
		if a, err := newVisitor().open(t.Context(), n, "/"); err != nil || a.status != http.StatusOK || a.body != "free" {
			t.Fatalf("a page without a gate is answered %s %v", a, err)
		}
		for name, v := range map[string]*visitor{"stranger": newVisitor(), "buyer": known, "payer": paying} {
			if a := r.visit(v, n); !isSafe(a) {
				t.Fatalf("a %s is answered %s", name, a)
			}
		}
		if status, err := deliver(t.Context(), n, completed(paying.session), secret); err != nil || status < 500 {
			t.Fatalf("a webhook is answered %d %v", status, err)
		}
	}
	must(t, r.server.Start())
	began = time.Now()
	r.awaitSales([]*node{n})
	t.Logf("the node sold %s after the server had started", time.Since(began).Round(10*time.Millisecond))
	r.mustRead(known, n)
	r.mustDeliver(n, completed(paying.session))
	r.mustRead(paying, n)
	n.mustLogRarely()
}

// K2: reloads with other configurations leave the number of connections as it was. A reload may end a query amid its
// work, and with it the connection; then another one takes its place.
func TestK2ReloadsKeepTheConnections(t *testing.T) {
	r := newRig(t, postgres)
	n := r.add("A", options{axra: unlimited}).start()
	v := r.buyer(n)
	if before := r.connections(); before != perNode {
		t.Fatalf("%d connections, want %d", before, perNode)
	}
	highest := 0
	readers := []*reader{r.paidReader(n, v, time.Millisecond), r.unpaidProgram(n, time.Millisecond)}
	during(t.Context(), func() {
		for i := range 30 {
			r.reload(n, i)
			time.Sleep(reloadPause)
			highest = max(highest, r.connections())
		}
	}, readers...).mustNotFail(t, "the reloads")
	r.mustRead(v, n)
	if highest > perNode {
		t.Errorf("%d connections amid the reloads, and %d before", highest, perNode)
	}
	until(t, 3*time.Second, "all connections are back", func() bool { return r.connections() == perNode })
}

// D4: a reload to the database of another installation, or to an empty one, is refused, and the running configuration
// goes on.
func TestD4ReloadToAnotherDatabaseIsRefused(t *testing.T) {
	r, other := newRig(t, postgres), newRig(t, postgres)
	neighbour := other.add("other", options{axra: unlimited}).start()
	other.buyer(neighbour)
	neighbour.kill()
	n := r.add("A", options{axra: unlimited}).start()
	v := r.buyer(n)
	empty := r.server.NewDatabase(t)
	for name, url := range map[string]string{"another installation": other.database, "empty": empty} {
		header := http.Header{"Content-Type": {"text/caddyfile"}}
		a, err := n.administer(http.MethodPost, "/load", header, []byte(r.caddyfile(n, options{axra: unlimited, url: url})))
		if err != nil || a.status == http.StatusOK || !strings.Contains(a.body, "is not a copy of") {
			t.Errorf("%s: the reload is answered %s %v", name, a, err)
		}
		for _, password := range pgtest.Passwords {
			if strings.Contains(a.body, password) {
				t.Errorf("%s: the password is in %s", name, a)
			}
		}
		r.mustRead(v, n)
		r.buyer(n)
	}
	for name, database := range map[string]string{"another installation": other.database, "empty": empty} {
		until(t, 5*time.Second, fmt.Sprintf("%s: the connections are closed", name), func() bool {
			return r.server.Count(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'caddy-axra'`,
				pgtest.Name(database)) == 0
		})
	}
	r.database, r.reading = empty, nil
	if made := r.number(`SELECT COUNT(*) FROM pg_namespace WHERE nspname = 'axra'`); made != 0 {
		t.Error("the empty database was written to")
	}
}
