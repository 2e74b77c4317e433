package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
)

const kept = 540 * day

// soldLongAgo fills the ledger with a purchase that has ended long ago.
func (w *world) soldLongAgo() {
	w.t.Helper()
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(w.t)
	w.pass(30*day + kept + time.Hour)
}

func (w *world) sweep() {
	w.t.Helper()
	mustDo(w.t, paywall.Sweep(w.t.Context()))
}

func TestWithKeepForeverNothingIsSwept(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "\t\tapi_key ", "\t\tkeep forever\n\t\tapi_key ", 1)})
	w.soldLongAgo()
	if err := paywall.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "keep forever") {
		t.Errorf("%v", err)
	}
	if w.purchases() != 1 {
		t.Error("it is gone")
	}
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

// A time that cannot be is no reason to take a payment for an old one.
func TestAnUnbelievableTimeCountsFromNow(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.soldLongAgo()
	w.sweep()
	for _, stated := range []string{"1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "9999-01-01T00:00:00Z"} {
		v := w.visitor()
		_, event := v.started("/premium/article.html")
		event["timestamp"] = stated
		body := encode(t, event)
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("%d", answer.status)
		}
		v.browse("/premium/article.html").wantPaid(t)
	}
}
