package paywall_test

import (
	"net/http"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// D1 and its class: what is not stored for certain is not acknowledged; the retry grants. D2: nothing is sold meanwhile.
func TestD1D2WebhookWhileTheLedgerIsBroken(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()
	_, event := v.Started(article)
	w.BreakLedger()
	if answer := w.Send(event); answer.Status < 500 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("answers %d", answer.Status)
	}
	for _, visitor := range []*sitetest.Visitor{v, w.Visitor()} {
		visitor.Open(article).WantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	}
	w.MendLedger()
	if answer := w.Send(event); answer.Status != http.StatusOK {
		t.Errorf("the retry answers %d", answer.Status)
	}
	v.Browse(article).WantPaid(t)
}

// D3: known buyers are served for the time of grace, then not.
func TestD3KnownBuyersAreServedForTheGrace(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()
	v.Buy(article).WantPaid(t)
	w.BreakLedger()
	for range 9 {
		w.Pass(time.Minute)
		v.Open(article).WantPaid(t)
	}
	w.Pass(2 * time.Minute)
	v.Open(article).WantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	if free := w.Visitor().Open("/"); free.Status != http.StatusOK {
		t.Errorf("the free page answers %d", free.Status)
	}
	w.MendLedger()
	v.Open(article).WantPaid(t)
}
