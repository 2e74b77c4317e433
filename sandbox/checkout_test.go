package sandbox

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func successURL(sess Session) string {
	return "https://shop.example/paid?s=" + sess.ID + "&again=" + sess.ID
}

func (r *rig) wantRedirect(resp reply, want string) {
	r.t.Helper()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != want {
		r.t.Errorf("got %d to %q, want 303 to %q\n%s", resp.StatusCode, resp.Header.Get("Location"), want, resp.body)
	}
}

func (r *rig) wantPage(resp reply, status int, texts ...string) {
	r.t.Helper()
	if resp.StatusCode != status {
		r.t.Errorf("status %d, want %d", resp.StatusCode, status)
	}
	for _, text := range append(texts, "Axra sandbox:", "no real money") {
		if !strings.Contains(html.UnescapeString(string(resp.body)), text) {
			r.t.Errorf("the page lacks %q:\n%s", text, resp.body)
		}
	}
}

func TestCheckoutPage(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	resp := r.get(sess.CheckoutURL)
	r.wantPage(resp, 200, "Pay 5.00 USD", "Thirty days <b>", `value="ann@example.com"`, "Cancel",
		`autocomplete="cc-number"`, `autocomplete="cc-exp"`, `autocomplete="cc-csc"`, `autocomplete="email"`,
		`<label for="number">`, `<label for="expiry">`, `<label for="cvv">`, `<label for="email">`)
	for _, c := range testCards() {
		r.wantPage(resp, 200, c.Number, c.Outcome)
	}
	if strings.Contains(string(resp.body), "<b>") {
		t.Error("the description is not escaped")
	}
	if strings.Contains(string(resp.body), "bank transfer") {
		t.Error("a local payment is offered for dollars")
	}
	if strings.Contains(string(resp.body), "<script") {
		t.Error("the page has a script")
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "form-action") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("headers %v", resp.Header)
	}
	if style := r.get("/sandbox/style.css"); style.StatusCode != 200 || !strings.HasPrefix(style.Header.Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %s", style.StatusCode, style.Header.Get("Content-Type"))
	}
}

func TestCheckoutNeedsItsToken(t *testing.T) {
	r := newRig(t, nil)
	sess, other := r.session(anOrder), r.session(anOrder)
	for _, target := range []string{
		"/checkout/" + sess.ID,
		"/checkout/" + sess.ID + "?token=",
		"/checkout/" + sess.ID + "?token=" + other.Token,
		"/checkout/cs_none?token=" + sess.Token,
		"/checkout/" + sess.ID + "/3ds?token=x",
	} {
		r.wantPage(r.get(target), 404, "Checkout not found")
	}
	r.wantPage(r.form("/checkout/"+sess.ID, "number", "4242424242424242", "expiry", "12/34", "cvv", "123"), 404)
	if len(r.Payments()) != 0 {
		t.Error("paid without the token")
	}
}

func TestPayByCard(t *testing.T) {
	for _, tc := range []struct {
		name, number string
		answer       string // to the 3-D Secure question; empty when none is asked
		failure      string // empty when the payment succeeds
	}{
		{"plain", "4242424242424242", "", ""},
		{"plain with spaces", " 4242 4242 4242 4242 ", "", ""},
		{"declined", "4000 0000 0000 0002", "", "Your card was declined."},
		{"insufficient funds", "4000000000009995", "", "insufficient funds"},
		{"unknown", "4111 1111 1111 1111", "", "unknown test card"},
		{"3DS approved", "4000 0025 0000 3155", "approve", ""},
		{"3DS declined", "4000 0025 0000 3155", "decline", "3-D Secure authentication was declined."},
		{"3DS fails, approved", "4000 0082 6000 3178", "approve", "3-D Secure authentication failed."},
		{"3DS fails, declined", "4000 0082 6000 3178", "decline", "3-D Secure authentication failed."},
		{"3DS2 approved", "4000 0000 0000 3220", "approve", ""},
		{"3DS2 declined", "4000 0000 0000 3220", "decline", "3-D Secure authentication was declined."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			sess := r.session(anOrder)
			resp := r.payByForm(sess, tc.number)
			if tc.answer != "" {
				r.wantRedirect(resp, path(sess, "/3ds"))
				r.wantEvents() // nothing happens before the bank has its answer
				r.wantPage(r.get(path(sess, "/3ds")), 200, "3-D Secure: your bank asks…", "Approve", "Decline", "5.00 USD")
				resp = r.form(path(sess, "/3ds"), "answer", tc.answer)
			}
			if tc.failure == "" {
				r.wantRedirect(resp, successURL(sess))
				r.wantEvents(EventPaymentCompleted)
				return
			}
			r.wantPage(resp, 402, tc.failure, "try another card", `role="alert"`)
			r.wantEvents(EventPaymentFailed)
			// Another card in the same session.
			r.wantRedirect(r.payByForm(sess, "4242424242424242"), successURL(sess))
			r.wantEvents(EventPaymentFailed, EventPaymentCompleted)
		})
	}
}

func TestPaymentCompletedEvent(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	r.payByForm(sess, "4242424242424242")
	r.idle()
	h := r.merchant.received()[0]
	want := `{"event":"payment.completed","timestamp":"2031-05-17T12:00:00.000Z","data":{"paymentId":"` + r.Payments()[0].ID +
		`","sessionId":"` + sess.ID + `","amount":5.00,"currency":"USD","status":"completed","metadata":{"deep":{"a":[1,2]},"n":1.10,"pass":"gold","sessionId":"` + sess.ID + `"}}}`
	if string(h.Body) != want {
		t.Errorf("event:\n got %s\nwant %s", h.Body, want)
	}
	if h.Header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", h.Header.Get("Content-Type"))
	}
}

func TestEventSettings(t *testing.T) {
	r := newRig(t, func(c *Config) { c.LowercaseCurrency, c.BareAftermath = true, true })
	out := r.pay(r.session(anOrder), visa)
	if err := r.Refund(out.PaymentID); err != nil {
		t.Fatal(err)
	}
	r.wantEvents(EventPaymentCompleted, EventPaymentRefunded)
	paid, refunded := r.merchant.received()[0].Data, r.merchant.received()[1].Data
	if paid["currency"] != "usd" || paid["metadata"] == nil {
		t.Errorf("paid: %v", paid)
	}
	if refunded["metadata"] != nil || refunded["sessionId"] != nil || refunded["paymentId"] != out.PaymentID {
		t.Errorf("refunded: %v", refunded)
	}
}

func TestMetadataCannotForgeTheSession(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(`{"amount":5,"currency":"usd","successUrl":"https://shop.example/","metadata":{"sessionId":"cs_other"}}`)
	r.pay(sess, visa)
	r.idle()
	if got := r.merchant.received()[0].Data["metadata"].(map[string]any)["sessionId"]; got != sess.ID {
		t.Errorf("sessionId %v", got)
	}
}

func TestCheckoutFormErrors(t *testing.T) {
	good := map[string]string{"number": "4242424242424242", "expiry": "05/31", "cvv": "123", "email": ""}
	for _, tc := range []struct{ field, value, message string }{
		{"number", "", "Enter the card number"},
		{"number", "4242", "Enter the card number"},
		{"number", "4242424242424242x", "Enter the card number"},
		{"expiry", "", "MM/YY"},
		{"expiry", "soon", "MM/YY"},
		{"expiry", "13/34", "MM/YY"},
		{"expiry", "00/34", "MM/YY"},
		{"expiry", "04/31", "The card has expired."},
		{"expiry", "12/2030", "The card has expired."},
		{"expiry", "12/2099", "too far ahead"},
		{"cvv", "", "security code"},
		{"cvv", "12", "security code"},
		{"cvv", "12a", "security code"},
		{"email", "nobody", "e-mail address"},
		{"expiry", "5/31", ""}, // good until the month ends
		{"expiry", "06 / 2031", ""},
		{"cvv", "1234", ""},
	} {
		t.Run(tc.field+"="+tc.value, func(t *testing.T) {
			r := newRig(t, nil)
			sess := r.session(anOrder)
			values := []string{"method", "card"}
			for name, value := range good {
				if name == tc.field {
					value = tc.value
				}
				values = append(values, name, value)
			}
			resp := r.form(path(sess, ""), values...)
			if tc.message == "" {
				r.wantRedirect(resp, successURL(sess))
				return
			}
			r.wantPage(resp, 422, tc.message, `aria-invalid="true"`, `id="`+tc.field+`-error"`, "<title>Error:")
			if len(r.Payments()) != 0 {
				t.Error("it was charged")
			}
		})
	}
}

func TestCompletedSessionIsNotPaidTwice(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	r.payByForm(sess, "4242424242424242")
	r.wantPage(r.get(sess.CheckoutURL), 200, "Already paid", `href="`+successURL(sess)+`"`)
	r.wantPage(r.payByForm(sess, "4242424242424242"), 200, "Already paid")
	r.wantPage(r.form(path(sess, "/cancel")), 200, "Already paid")
	r.wantEvents(EventPaymentCompleted)
}

func TestTwoClicksPayOnce(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { r.payByForm(sess, "4242424242424242") })
	}
	wg.Wait()
	if n := len(r.Payments()); n != 1 {
		t.Errorf("%d payments", n)
	}
}

func TestStaleChallenge(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	r.wantRedirect(r.get(path(sess, "/3ds")), path(sess, ""))
	r.wantRedirect(r.form(path(sess, "/3ds"), "answer", "approve"), path(sess, ""))
	if len(r.Payments()) != 0 {
		t.Error("paid without a card")
	}
}

func TestAnotherCardEndsTheChallenge(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	r.payByForm(sess, "4000 0025 0000 3155")
	r.wantPage(r.payByForm(sess, "4000 0000 0000 0002"), 402)
	r.wantRedirect(r.form(path(sess, "/3ds"), "answer", "approve"), path(sess, ""))
	r.wantEvents(EventPaymentFailed)
}

func TestExpiredSession(t *testing.T) {
	for _, cancelURL := range []string{"https://shop.example/cancelled", ""} {
		t.Run("cancelUrl="+cancelURL, func(t *testing.T) {
			r := newRig(t, nil)
			order := anOrder
			if cancelURL == "" {
				order = strings.Replace(anOrder, `"cancelUrl":"https://shop.example/cancelled",`, "", 1)
			}
			sess := r.session(order)
			r.clock.advance(30*time.Minute - time.Nanosecond)
			r.wantPage(r.get(sess.CheckoutURL), 200, "Pay 5.00 USD")
			r.clock.advance(time.Nanosecond)
			for _, resp := range []reply{r.get(sess.CheckoutURL), r.payByForm(sess, "4242424242424242")} {
				if cancelURL != "" {
					r.wantRedirect(resp, cancelURL)
				} else {
					r.wantPage(resp, 410, "Checkout closed")
				}
			}
			if _, err := r.Pay(sess.ID, visa); err == nil || r.Sessions()[0].Status != StatusExpired {
				t.Errorf("Pay: %v, status %s", err, r.Sessions()[0].Status)
			}
			r.wantEvents()
		})
	}
}

func TestCancel(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	r.wantRedirect(r.form(path(sess, "/cancel")), "https://shop.example/cancelled")
	// The customer thinks better of it.
	r.wantRedirect(r.payByForm(sess, "4242424242424242"), successURL(sess))

	bare := r.session(`{"amount":5,"currency":"usd","successUrl":"https://shop.example/"}`)
	r.wantPage(r.form(path(bare, "/cancel")), 200, "Payment cancelled")
}

func TestCancelCloses(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CancelCloses = true })
	sess := r.session(anOrder)
	r.wantRedirect(r.form(path(sess, "/cancel")), "https://shop.example/cancelled")
	r.wantRedirect(r.payByForm(sess, "4242424242424242"), "https://shop.example/cancelled")
	if len(r.Payments()) != 0 {
		t.Error("a cancelled session was paid")
	}
}

func TestSuccessURLIsLeftAsItIs(t *testing.T) {
	r := newRig(t, nil)
	for _, given := range []string{
		"https://shop.example/a/../b?x=%2F&s={SESSION_ID}#frag",
		"https://shop.example/{SESSION_ID}/{SESSION_ID}",
		"https://shop.example/{session_id}?%7BSESSION_ID%7D",
		"https://shop.example",
	} {
		sess := r.session(`{"amount":5,"currency":"usd","successUrl":"` + given + `"}`)
		r.wantRedirect(r.payByForm(sess, "4242424242424242"), strings.ReplaceAll(given, "{SESSION_ID}", sess.ID))
	}
}

func TestLocalPayment(t *testing.T) {
	r := newRig(t, nil)
	sess := r.local()
	r.wantPage(r.get(sess.CheckoutURL), 200, "Pay by bank transfer / mobile money", "Pay 1500.00 NGN")
	r.wantRedirect(r.form(path(sess, ""), "method", "local"), "https://shop.example/paid/"+sess.ID)
	r.wantEvents(EventCollectionCreated, EventCollectionProcessing)
	r.wantPage(r.get(sess.CheckoutURL), 200, "Payment under way")
	r.wantPage(r.payByForm(sess, "4242424242424242"), 200, "Payment under way")

	c := r.Collections()[0]
	if !strings.HasPrefix(c.ID, "lcoll_01") || c.Status != StatusProcessing {
		t.Errorf("collection %+v", c)
	}
	if err := r.CompleteCollection(c.ID); err != nil {
		t.Fatal(err)
	}
	r.wantEvents(EventCollectionCreated, EventCollectionProcessing, EventCollectionCompleted, EventLocalSession, EventPaymentCompleted)
	for _, h := range r.merchant.received() {
		if meta, ok := h.Data["metadata"].(map[string]any); !ok || meta["sessionId"] != sess.ID || meta["pass"] != "gold" {
			t.Errorf("%s: metadata %v", h.Event, h.Data["metadata"])
		}
	}
	if err := r.CompleteCollection(c.ID); err == nil {
		t.Error("completed twice")
	}
	r.wantPage(r.get(sess.CheckoutURL), 200, "Already paid")
}

func TestLocalPaymentThatEndsBadly(t *testing.T) {
	for event, end := range map[string]func(*rig, string) error{
		EventCollectionFailed:  func(r *rig, id string) error { return r.FailCollection(id) },
		EventCollectionExpired: func(r *rig, id string) error { return r.ExpireCollection(id) },
	} {
		t.Run(event, func(t *testing.T) {
			r := newRig(t, nil)
			sess := r.local()
			out := r.pay(sess, PayWith{Local: true})
			if err := end(r, out.CollectionID); err != nil {
				t.Fatal(err)
			}
			r.wantEvents(EventCollectionCreated, EventCollectionProcessing, event)
			if err := r.CompleteCollection(out.CollectionID); err == nil {
				t.Error("an ended collection was completed")
			}
			r.wantRedirect(r.payByForm(sess, "4242424242424242"), "https://shop.example/paid/"+sess.ID)
		})
	}
}

func TestLocalPaymentSettlesByItself(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": SettleAtOnce, "later": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.SettleAfter = after })
			out := r.pay(r.local(), PayWith{Local: true})
			if (out.Status == OutcomePaid) != (after == SettleAtOnce) {
				t.Errorf("outcome %+v", out)
			}
			eventually(t, "the payment", func() bool { return len(r.Payments()) == 1 })
			r.wantEvents(EventCollectionCreated, EventCollectionProcessing, EventCollectionCompleted, EventLocalSession, EventPaymentCompleted)
		})
	}
}

func TestLocalPaymentCompletesAfterTheSessionsTime(t *testing.T) {
	r := newRig(t, nil)
	out := r.pay(r.local(), PayWith{Local: true})
	r.clock.advance(24 * time.Hour)
	if err := r.CompleteCollection(out.CollectionID); err != nil {
		t.Fatal(err)
	}
	if got := r.Sessions()[0].Status; got != StatusCompleted {
		t.Errorf("status %s", got)
	}
}

func TestLocalPaymentNeedsALocalCurrency(t *testing.T) {
	r := newRig(t, nil)
	sess := r.session(anOrder)
	if resp := r.form(path(sess, ""), "method", "local"); resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
	for _, code := range strings.Fields(localCurrencies) {
		if !isCurrency(code) || !isLocal(code) {
			t.Errorf("%s", code)
		}
	}
}

func TestRefererOfTheCheckoutKeepsTheToken(t *testing.T) {
	// A browser that obeys same-origin sends no Referer to the merchant; a
	// policy that is looser would show it the token.
	r := newRig(t, nil)
	sess := r.session(anOrder)
	resp := r.payByForm(sess, "4242424242424242")
	u, _ := url.Parse(sess.CheckoutURL)
	if strings.Contains(resp.Header.Get("Location"), u.Query().Get("token")) {
		t.Error("the token is sent to the merchant")
	}
	if got := resp.Header.Get("Referrer-Policy"); got != "same-origin" {
		t.Errorf("policy %q", got)
	}
}
