package paywall_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/sandbox"
)

// The main job, as a visitor sees it: from a stranger to a reader.
func TestVisitorPaysAndReads(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()

	if free := v.Open("/"); free.Status != http.StatusOK {
		t.Fatalf("the free page answers %d", free.Status)
	}
	v.Open(article).WantCheckout(t, w)
	checkout := v.Browse(article)
	back := v.Pay(checkout)
	if back.Status != http.StatusSeeOther || !strings.HasPrefix(back.Location(), w.Site+"/premium/article.html?axra_session=") {
		t.Fatalf("after paying: %d to %q", back.Status, back.Location())
	}
	w.Delivered()
	redeemed := v.Open(back.Location())
	if redeemed.Status != http.StatusSeeOther || redeemed.Location() != article {
		t.Fatalf("the return answers %d to %q", redeemed.Status, redeemed.Location())
	}
	v.Open(article).WantPaid(t)
	v.Open("/premium/other.html").WantPaid(t)
	w.Visitor().Do(http.MethodGet, article, http.Header{"Authorization": {"Bearer " + v.Cookie("axra_t_")}}, nil).WantPaid(t)

	w.Restart()
	v.Open(article).WantPaid(t)
	w.Visitor().Open(article).WantCheckout(t, w)
}

// S6: coming back without a payment leads to a page that has an end, not to a new session.
func TestS6ReturnBeforeTheWebhook(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	waits := func(v *sitetest.Visitor, targets ...string) {
		t.Helper()
		before := w.Creations()
		for _, target := range targets {
			v.Open(target).WantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
		}
		if state := v.Poll(targets[0]); state != "waiting" || w.Creations() != before {
			t.Errorf("state %q, %d new sessions", state, w.Creations()-before)
		}
	}
	arrives := func(v *sitetest.Visitor, back sitetest.Reply) sitetest.Reply {
		t.Helper()
		w.Sandbox.Release()
		w.Delivered()
		if state := v.Poll(back.Location()); state != "paid" {
			t.Errorf("state %q after the webhook", state)
		}
		opened := v.Browse(back.Location())
		opened.WantPaid(t)
		return opened
	}
	t.Run("the first purchase", func(t *testing.T) {
		v := w.Visitor()
		w.Sandbox.Hold()
		back := v.Pay(v.Browse("/premium/article.html?page=2"))
		waits(v, back.Location(), article)
		if opened := arrives(v, back); opened.URL.RequestURI() != "/premium/article.html?page=2" {
			t.Errorf("back at %q", opened.URL.RequestURI())
		}
	})
	t.Run("after a decline", func(t *testing.T) {
		v := w.Visitor()
		checkout := v.Browse(article)
		v.PayWith(checkout, sitetest.CardDeclined)
		w.Delivered()
		w.Sandbox.Hold()
		back := v.Pay(v.Browse(checkout.URL.String()))
		waits(v, back.Location(), back.Location())
		arrives(v, back)
	})
	t.Run("after a refund", func(t *testing.T) { // which is history: nobody is asked to pay a third time
		v := w.Visitor()
		v.Buy(article).WantPaid(t)
		mustDo(t, w.Sandbox.Refund(w.LastPayment().ID))
		w.Delivered()
		w.Sandbox.Hold()
		back := v.Pay(v.Browse(v.Open(article).Link(t, "Buy access again")))
		waits(v, back.Location(), article)
		arrives(v, back)
	})
	t.Run("the page ends", func(t *testing.T) {
		v := w.Visitor()
		w.Sandbox.Hold()
		back := v.Pay(v.Browse(article))
		page := v.Open(back.Location() + "&axra_try=30")
		page.WantPage(t, http.StatusPaymentRequired, "Still waiting for confirmation")
		if strings.Contains(page.Body, "http-equiv=\"refresh\"") || strings.Contains(page.Body, "<script") {
			t.Error("the page still refreshes itself")
		}
		before := w.Creations()
		v.Open(page.Link(t, "start again")).WantCheckout(t, w)
		if w.Creations() != before+1 {
			t.Error("no new session was created")
		}
		arrives(v, back) // the first payment still counts
	})
}

// S6: a payment by bank takes its time, and may fail.
func TestS6APaymentByBankIsOnItsWay(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.FiveLines, "5.00 usd", "2000 ngn", 1)})
	begun := func() (v *sitetest.Visitor, back string) {
		t.Helper()
		v = w.Visitor()
		back = v.Submit(v.Browse(article), "Pay by bank", nil).Location()
		w.Delivered()
		for _, target := range []string{back, article} {
			v.Open(target).WantPage(t, http.StatusPaymentRequired, "Your payment is on its way")
		}
		return v, back
	}
	v, back := begun()
	mustDo(t, w.Sandbox.CompleteCollection(w.Sandbox.Collections()[0].ID))
	w.Delivered()
	v.Browse(back).WantPaid(t)
	if w.Creations() != 1 {
		t.Errorf("%d sessions were created", w.Creations())
	}

	v, back = begun()
	w.Pass(time.Minute)
	mustDo(t, w.Sandbox.FailCollection(w.Sandbox.Collections()[1].ID))
	w.Delivered()
	page := v.Open(back)
	page.WantPage(t, http.StatusPaymentRequired, "The payment did not go through")
	v.Open(page.Link(t, "ry again")).WantCheckout(t, w)
}

// W10: the webhook comes late, to a tab that was closed or to a process that has never seen the session. Nobody pays twice.
func TestW10ALatePaymentIsFound(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	t.Run("the tab was closed", func(t *testing.T) {
		v := w.Visitor()
		v.Pay(v.Browse(article))
		w.Delivered()
		w.Pass(3 * 24 * time.Hour)
		v.Browse("/premium/other.html").WantPaid(t)
		if w.Creations() != 1 {
			t.Errorf("%d sessions were created", w.Creations())
		}
	})
	t.Run("Caddy was restarted", func(t *testing.T) {
		v := w.Visitor()
		_, event := v.Started(article)
		w.Restart()
		w.Send(event)
		v.Browse(article).WantPaid(t)
	})
	t.Run("many checkouts were opened meanwhile", func(t *testing.T) {
		v := w.Visitor()
		_, event := v.Started(article)
		for range 8 {
			w.Pass(31 * time.Minute)
			v.Open(article).WantCheckout(t, w)
		}
		w.Send(event)
		v.Browse(article).WantPaid(t)
	})
	t.Run("Caddy was down", func(t *testing.T) {
		v := w.Visitor()
		checkout := v.Browse(article)
		w.Stop()
		back := v.Pay(checkout)
		w.Load(w.Config)
		w.Delivered()
		v.Browse(back.Location()).WantPaid(t)
	})
}

// T7, on the node that hears of it, whatever the event says besides the payment.
func TestT7RefundAndDispute(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("without metadata %t", bare), func(t *testing.T) {
			w := newWorld(t, sitetest.Options{Sandbox: sandbox.Config{BareAftermath: bare}})
			refunded, disputed := w.Visitor(), w.Visitor()
			refunded.Buy(article).WantPaid(t)
			first := w.LastPayment()
			disputed.Buy(article).WantPaid(t)
			second := w.LastPayment()

			mustDo(t, w.Sandbox.Refund(first.ID))
			w.Delivered()
			page := refunded.Open(article)
			page.WantPage(t, http.StatusPaymentRequired, "This payment was refunded")
			disputed.Open(article).WantPaid(t)
			refunded.Open(page.Link(t, "Buy access again")).WantCheckout(t, w)

			mustDo(t, w.Sandbox.Dispute(second.ID))
			w.Delivered()
			disputed.Open(article).WantPage(t, http.StatusPaymentRequired, "This payment is in dispute")
			mustDo(t, w.Sandbox.Win(second.ID))
			w.Delivered()
			disputed.Open(article).WantPaid(t)

			lost := w.Visitor()
			lost.Buy(article).WantPaid(t)
			mustDo(t, w.Sandbox.Dispute(w.LastPayment().ID))
			mustDo(t, w.Sandbox.Lose(w.LastPayment().ID))
			w.Delivered()
			lost.Open(article).WantPage(t, http.StatusPaymentRequired, "This payment was refunded")
		})
	}
	w := newWorld(t, sitetest.Options{})
	for _, data := range []string{
		`{"paymentId":"PAYMENT","metadata":{"reason":"asked"}}`, `{"metadata":{"sessionId":"SESSION"}}`, `{"sessionId":"SESSION"}`, `{"id":"PAYMENT"}`,
		`{"transactionId":"PAYMENT"}`, `{"paymentId":"PAYMENT","amount":null,"currency":null}`, `{"id":"rf_1","paymentId":"PAYMENT"}`,
	} {
		v := w.Visitor()
		v.Buy(article).WantPaid(t)
		paid := w.LastPayment()
		data = strings.NewReplacer("PAYMENT", paid.ID, "SESSION", paid.SessionID).Replace(data)
		event := map[string]any{"event": "payment.refunded", "timestamp": w.Now().UTC().Format(time.RFC3339), "data": json.RawMessage(data)}
		if answer := w.Send(event); answer.Status != http.StatusOK {
			t.Fatalf("%s answers %d", data, answer.Status)
		}
		v.Open(article).WantPage(t, http.StatusPaymentRequired, "This payment was refunded")
	}
}
