package faults_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/internal/faults"
)

// ignoredLeaks are not the plugin's: certmagic's file locks refresh themselves
// until some seconds after they are given back.
var ignoredLeaks = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
}

// Nothing of the plugin goes on after Stop, in whatever state the storage is.
func TestStopLeavesNoGoroutine(t *testing.T) {
	t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
	t.Setenv("AXRA_WEBHOOK_SECRET", secret)
	for name, fault := range map[string]faults.Fault{
		"storage well": faults.None, "storage fails": faults.Fails, "storage stalls": faults.Stalls, "lock held": faults.LockHeld,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			root := t.TempDir()
			n := r.add("in process", options{axra: "storage faulty `" + root + "`"})
			r.loadAndStop(n, root, fault) // what Caddy itself starts once and for all
			ignored := append([]goleak.Option{goleak.IgnoreCurrent()}, ignoredLeaks...)
			for range inForm(5, 50) {
				r.loadAndStop(n, root, fault)
			}
			var err error
			for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
				if err = goleak.Find(ignored...); err == nil {
					return
				}
			}
			t.Error(err)
		})
	}
}

// loadAndStop runs the node within the test's own process, with some requests.
func (r *rig) loadAndStop(n *node, storage string, fault faults.Fault) {
	r.t.Helper()
	control := faults.On(storage)
	control.Set(fault, "")
	defer control.Heal()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.Replace(
		r.caddyfile(n, options{axra: "storage faulty `" + storage + "`"}), "admin 127.0.0.1:"+n.admin, "admin off", 1)), nil)
	must(r.t, err)
	must(r.t, caddy.Load(config, true))
	v := newVisitor()
	if fault == faults.None {
		r.begin(n, v)
		r.mustDeliver(n, completed(v.session))
		r.mustRead(v, n)
	}
	must(r.t, caddy.Stop())
	n.transport.CloseIdleConnections()
}
