package paywall_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

// The main job, as a visitor sees it: from a stranger to a reader.
func TestVisitorPaysAndReads(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()

	if free := v.open("/"); free.status != http.StatusOK {
		t.Fatalf("the free page answers %d", free.status)
	}
	v.open("/premium/article.html").wantCheckout(t, w)
	checkout := v.browse("/premium/article.html")
	back := v.pay(checkout, cardGood)
	if back.status != http.StatusSeeOther || !strings.HasPrefix(back.location(), w.site+"/premium/article.html?axra_session=") {
		t.Fatalf("after paying: %d to %q", back.status, back.location())
	}
	w.delivered()
	redeemed := v.open(back.location())
	if redeemed.status != http.StatusSeeOther || redeemed.location() != "/premium/article.html" {
		t.Fatalf("the return answers %d to %q", redeemed.status, redeemed.location())
	}
	v.open("/premium/article.html").wantPaid(t)
	v.open("/premium/other.html").wantPaid(t)
	w.visitor().do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer " + v.cookie(t, "axra_t_")}}, nil).wantPaid(t)

	w.restart()
	v.open("/premium/article.html").wantPaid(t)
	w.visitor().open("/premium/article.html").wantCheckout(t, w)
}

// S6: coming back without a payment leads to a page that has an end, not to a new session.
func TestS6ReturnBeforeTheWebhook(t *testing.T) {
	w := newWorld(t, worldOptions{})
	waits := func(v *visitor, targets ...string) {
		t.Helper()
		before := w.creations()
		for _, target := range targets {
			v.open(target).wantPage(t, http.StatusPaymentRequired, "Waiting for confirmation")
		}
		if state := v.poll(targets[0]); state != "waiting" || w.creations() != before {
			t.Errorf("state %q, %d new sessions", state, w.creations()-before)
		}
	}
	arrives := func(v *visitor, back reply) reply {
		t.Helper()
		w.sandbox.Release()
		w.delivered()
		if state := v.poll(back.location()); state != "paid" {
			t.Errorf("state %q after the webhook", state)
		}
		opened := v.browse(back.location())
		opened.wantPaid(t)
		return opened
	}
	t.Run("the first purchase", func(t *testing.T) {
		v := w.visitor()
		w.sandbox.Hold()
		back := v.pay(v.browse("/premium/article.html?page=2"), cardGood)
		waits(v, back.location(), "/premium/article.html")
		if opened := arrives(v, back); opened.url.RequestURI() != "/premium/article.html?page=2" {
			t.Errorf("back at %q", opened.url.RequestURI())
		}
	})
	t.Run("after a decline", func(t *testing.T) {
		v := w.visitor()
		checkout := v.browse("/premium/article.html")
		v.pay(checkout, cardDeclined)
		w.delivered()
		w.sandbox.Hold()
		back := v.pay(v.browse(checkout.url.String()), cardGood)
		waits(v, back.location(), back.location())
		arrives(v, back)
	})
	t.Run("after a refund", func(t *testing.T) { // which is history: nobody is asked to pay a third time
		v := w.visitor()
		v.buy("/premium/article.html", cardGood).wantPaid(t)
		mustDo(t, w.sandbox.Refund(w.lastPayment().ID))
		w.delivered()
		w.sandbox.Hold()
		back := v.pay(v.browse(link(t, v.open("/premium/article.html"), "Buy access again")), cardGood)
		waits(v, back.location(), "/premium/article.html")
		arrives(v, back)
	})
	t.Run("the page ends", func(t *testing.T) {
		v := w.visitor()
		w.sandbox.Hold()
		back := v.pay(v.browse("/premium/article.html"), cardGood)
		page := v.open(back.location() + "&axra_try=30")
		page.wantPage(t, http.StatusPaymentRequired, "Still waiting for confirmation")
		if strings.Contains(page.body, "http-equiv=\"refresh\"") || strings.Contains(page.body, "<script") {
			t.Error("the page still refreshes itself")
		}
		before := w.creations()
		v.open(link(t, page, "start again")).wantCheckout(t, w)
		if w.creations() != before+1 {
			t.Error("no new session was created")
		}
		arrives(v, back) // the first payment still counts
	})
	w.load(strings.Replace(fiveLines, "5.00 usd", "2000 ngn", 1))
	byBank := func(t *testing.T) (v *visitor, back reply, collection string) {
		t.Helper()
		v = w.visitor()
		back = v.submit(v.browse("/premium/article.html"), "Pay by bank", nil)
		w.delivered()
		for _, target := range []string{back.location(), "/premium/article.html"} {
			v.open(target).wantPage(t, http.StatusPaymentRequired, "Your payment is on its way")
		}
		collections := w.sandbox.Collections()
		return v, back, collections[len(collections)-1].ID
	}
	t.Run("by bank", func(t *testing.T) {
		v, back, collection := byBank(t)
		mustDo(t, w.sandbox.CompleteCollection(collection))
		w.delivered()
		v.browse(back.location()).wantPaid(t)
	})
	t.Run("by bank, which fails", func(t *testing.T) {
		v, back, collection := byBank(t)
		w.pass(time.Minute)
		mustDo(t, w.sandbox.FailCollection(collection))
		w.delivered()
		page := v.open(back.location())
		page.wantPage(t, http.StatusPaymentRequired, "The payment did not go through")
		v.open(link(t, page, "ry again")).wantCheckout(t, w)
	})
}

// W10: the webhook comes late, to a tab that was closed or to a process that has never seen the session. Nobody pays twice.
func TestW10ALatePaymentIsFound(t *testing.T) {
	w := newWorld(t, worldOptions{})
	t.Run("the tab was closed", func(t *testing.T) {
		v := w.visitor()
		v.pay(v.browse("/premium/article.html"), cardGood)
		w.delivered()
		w.pass(3 * 24 * time.Hour)
		v.browse("/premium/other.html").wantPaid(t)
		if w.creations() != 1 {
			t.Errorf("%d sessions were created", w.creations())
		}
	})
	t.Run("Caddy was restarted", func(t *testing.T) {
		v := w.visitor()
		_, event := v.started("/premium/article.html")
		w.restart()
		body := encode(t, event)
		w.deliver(body, sign(body, webhookSecret))
		v.browse("/premium/article.html").wantPaid(t)
	})
	t.Run("many checkouts were opened meanwhile", func(t *testing.T) {
		v := w.visitor()
		_, event := v.started("/premium/article.html")
		for range 8 {
			w.pass(31 * time.Minute)
			v.open("/premium/article.html").wantCheckout(t, w)
		}
		body := encode(t, event)
		w.deliver(body, sign(body, webhookSecret))
		v.browse("/premium/article.html").wantPaid(t)
	})
	t.Run("Caddy was down", func(t *testing.T) {
		v := w.visitor()
		checkout := v.browse("/premium/article.html")
		w.stop()
		back := v.pay(checkout, cardGood)
		w.load(w.config)
		w.delivered()
		v.browse(back.location()).wantPaid(t)
	})
}

// T7, on the node that hears of it, whatever the event says besides the payment.
func TestT7RefundAndDispute(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("without metadata %t", bare), func(t *testing.T) {
			w := newWorld(t, worldOptions{Sandbox: sandbox.Config{BareAftermath: bare}})
			refunded, disputed := w.visitor(), w.visitor()
			refunded.buy("/premium/article.html", cardGood).wantPaid(t)
			first := w.lastPayment()
			disputed.buy("/premium/article.html", cardGood).wantPaid(t)
			second := w.lastPayment()

			mustDo(t, w.sandbox.Refund(first.ID))
			w.delivered()
			page := refunded.open("/premium/article.html")
			page.wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
			disputed.open("/premium/article.html").wantPaid(t)
			refunded.open(link(t, page, "Buy access again")).wantCheckout(t, w)

			mustDo(t, w.sandbox.Dispute(second.ID))
			w.delivered()
			disputed.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "This payment is in dispute")
			mustDo(t, w.sandbox.Win(second.ID))
			w.delivered()
			disputed.open("/premium/article.html").wantPaid(t)

			lost := w.visitor()
			lost.buy("/premium/article.html", cardGood).wantPaid(t)
			mustDo(t, w.sandbox.Dispute(w.lastPayment().ID))
			mustDo(t, w.sandbox.Lose(w.lastPayment().ID))
			w.delivered()
			lost.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
		})
	}
	w := newWorld(t, worldOptions{})
	for _, data := range []string{
		`{"paymentId":"PAYMENT","metadata":{"reason":"asked"}}`, `{"metadata":{"sessionId":"SESSION"}}`, `{"sessionId":"SESSION"}`, `{"id":"PAYMENT"}`,
		`{"transactionId":"PAYMENT"}`, `{"paymentId":"PAYMENT","amount":null,"currency":null}`, `{"id":"rf_1","paymentId":"PAYMENT"}`,
	} {
		v := w.visitor()
		v.buy("/premium/article.html", cardGood).wantPaid(t)
		paid := w.lastPayment()
		body := []byte(fmt.Sprintf(`{"event":"payment.refunded","timestamp":%q,"data":%s}`,
			w.now().UTC().Format(time.RFC3339), strings.NewReplacer("PAYMENT", paid.ID, "SESSION", paid.SessionID).Replace(data)))
		if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
			t.Fatalf("%s answers %d", data, answer.status)
		}
		v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "This payment was refunded")
	}
}
