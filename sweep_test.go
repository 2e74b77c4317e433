package paywall_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall"
)

func (w *world) sweep() {
	w.t.Helper()
	mustDo(w.t, paywall.Sweep(w.t.Context()))
}

// W6: what was swept does not come back by an event that is older than keep.
func TestW6AnEventOlderThanKeepOpensNothing(t *testing.T) {
	short := strings.Replace(fiveLines, "\t\tapi_key ", "\t\tkeep 60d\n\t\tapi_key ", 1)
	w := newWorld(t, worldOptions{Caddyfile: short})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	body := encode(t, event)
	deliver := func() {
		t.Helper()
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("%d", answer.status)
		}
	}
	deliver()
	w.pass(30*day + 61*day)
	w.sweep()
	if w.purchases() != 0 {
		t.Fatal("it is not swept")
	}
	deliver()
	v.open("/premium/article.html").wantCheckout(t, w)
}
