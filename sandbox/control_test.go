package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// control posts JSON and decodes the answer.
func (r *rig) control(target, body string, want int) map[string]any {
	r.t.Helper()
	resp := r.post(target, body)
	if resp.StatusCode != want {
		r.t.Fatalf("%s %s: %d %s", target, body, resp.StatusCode, resp.body)
	}
	return decode(r.t, resp.body)
}

func (r *rig) list(kind string) []any {
	r.t.Helper()
	return decode(r.t, r.get("/sandbox/"+kind).body)[kind].([]any)
}

func TestControlPays(t *testing.T) {
	for _, tc := range []struct{ with, status, event string }{
		{`{"card":"4242 4242 4242 4242"}`, "paid", EventPaymentCompleted},
		{`{"card":"4000000000000002"}`, "declined", EventPaymentFailed},
		{`{"card":"4000002500003155","approve":true}`, "paid", EventPaymentCompleted},
		{`{"card":"4000002500003155"}`, "declined", EventPaymentFailed},
		{`{"card":"4000008260003178","approve":true}`, "declined", EventPaymentFailed},
	} {
		t.Run(tc.with, func(t *testing.T) {
			r := newRig(t, nil)
			sess := r.session(anOrder)
			got := r.control("/sandbox/sessions/"+sess.ID+"/pay", tc.with, 200)
			if got["status"] != tc.status || (got["redirect"] == successURL(sess)) != (tc.status == "paid") || got["paymentId"] == nil {
				t.Errorf("outcome %v", got)
			}
			r.wantEvents(tc.event)
		})
	}
}

func TestControl(t *testing.T) {
	r := newRig(t, nil)
	first, second, third := r.session(anOrder), r.local(), r.session(anOrder)
	if got := r.list("sessions"); len(got) != 3 || got[0].(map[string]any)["sessionId"] != first.ID {
		t.Errorf("sessions %v", got)
	}
	if got := decode(t, r.get("/sandbox/sessions/"+first.ID).body); got["status"] != "open" || got["checkoutUrl"] != first.CheckoutURL {
		t.Errorf("session %v", got)
	}

	payment := r.control("/sandbox/sessions/"+first.ID+"/pay", `{"card":"4242424242424242"}`, 200)["paymentId"].(string)
	r.control("/sandbox/sessions/"+first.ID+"/pay", `{"card":"4242424242424242"}`, 409)
	r.control("/sandbox/sessions/none/pay", `{"card":"4242424242424242"}`, 404)
	r.control("/sandbox/sessions/"+third.ID+"/pay", `{"local":true}`, 400)
	if got := r.control("/sandbox/sessions/"+third.ID+"/cancel", ``, 200); got["redirect"] != third.CancelURL {
		t.Errorf("cancel %v", got)
	}
	r.control("/sandbox/sessions/"+third.ID+"/expire", ``, 200)
	r.control("/sandbox/sessions/"+third.ID+"/pay", `{"card":"4242424242424242"}`, 409)

	for _, action := range []string{"settle", "dispute", "win", "refund"} {
		r.control("/sandbox/payments/"+payment+"/"+action, "", 200)
	}
	r.control("/sandbox/payments/"+payment+"/lose", "", 409)
	r.control("/sandbox/payments/"+payment+"/burn", "", 404)
	r.control("/sandbox/payments/none/refund", "", 404)
	if got := r.list("payments")[0].(map[string]any); got["status"] != "refunded" || got["settled"] != true {
		t.Errorf("payment %v", got)
	}

	collection := r.control("/sandbox/sessions/"+second.ID+"/pay", `{"local":true}`, 200)["collectionId"].(string)
	r.control("/sandbox/collections/"+collection+"/fail", "", 200)
	r.control("/sandbox/collections/"+collection+"/complete", "", 409)
	if got := r.list("collections")[0].(map[string]any); got["status"] != "failed" {
		t.Errorf("collection %v", got)
	}

	r.idle()
	deliveries := r.list("deliveries")
	if len(deliveries) != 8 {
		t.Fatalf("%d deliveries", len(deliveries))
	}
	d := deliveries[0].(map[string]any)
	if d["event"] != EventPaymentCompleted || d["payload"].(map[string]any)["event"] != EventPaymentCompleted || len(d["attempts"].([]any)) != 1 {
		t.Errorf("delivery %v", d)
	}
	r.control("/sandbox/deliveries/"+d["deliveryId"].(string)+"/resend", "", 200)
	r.idle()
	if n := len(r.merchant.received()); n != 9 {
		t.Errorf("%d webhooks", n)
	}
	r.control("/sandbox/reset", "", 200)
	if len(r.list("sessions"))+len(r.list("payments"))+len(r.list("deliveries")) != 0 {
		t.Error("reset forgot to forget")
	}
}

func TestControlWebhooks(t *testing.T) {
	r := newRig(t, nil)
	if got := r.control("/sandbox/webhooks", `{"hold":true,"duplicate":2}`, 200); got["hold"] != true || got["duplicate"] != json.Number("2") || got["shuffle"] != false {
		t.Errorf("mode %v", got)
	}
	r.pay(r.session(anOrder), visa)
	r.control("/sandbox/webhooks", `{"shuffle":true}`, 200) // leaves the rest alone
	r.wantEvents()
	r.control("/sandbox/webhooks", `{"hold":false}`, 200)
	r.wantEvents(EventPaymentCompleted, EventPaymentCompleted)
	r.control("/sandbox/webhooks", `{"secret":"new","duplicate":1}`, 200)
	r.pay(r.session(anOrder), visa)
	r.idle()
	if h := r.merchant.received()[2]; h.Header.Get("x-axra-signature") != hmacHex("new", string(h.Body)) {
		t.Error("the secret was not changed")
	}
	for _, body := range []string{`{"duplicate":-1}`, `{"duplicate":1001}`, `{"url":"x"}`, `{"secret":""}`, `{"hodl":true}`, `{} {}`, ``} {
		r.control("/sandbox/webhooks", body, 400)
	}
}

func TestControlFaults(t *testing.T) {
	r := newRig(t, nil)
	got := r.control("/sandbox/faults", `{"kind":"503","times":3,"retryAfter":"9"}`, 200)
	if got["kind"] != "503" || got["times"] != json.Number("3") || r.Fault().RetryAfter != "9" {
		t.Errorf("fault %v", got)
	}
	for _, body := range []string{`{"kind":"flood"}`, `{"kind":"hang","times":-1}`, `nope`} {
		r.control("/sandbox/faults", body, 400)
	}
	for _, kind := range FaultKinds() {
		r.control("/sandbox/faults", `{"kind":"`+string(kind)+`","times":0}`, 200)
	}
}

func TestControlEvents(t *testing.T) {
	r := newRig(t, nil)
	exact := `{ "event": "payment.completed",  "data": {"amount": 5.00} }`
	if got := r.control("/sandbox/events", `{"body":`+exact+`}`, 200); len(got["deliveries"].([]any)) != 1 {
		t.Errorf("answer %v", got)
	}
	r.idle()
	r.control("/sandbox/events", `{"raw":"`+base64.StdEncoding.EncodeToString([]byte("\xff{"))+`","secret":"s","header":{"X-Extra":"1"}}`, 200)
	r.idle()
	big := `{"event":"` + strings.Repeat("x", 1<<20) + `"}`
	r.control("/sandbox/events", `{"body":`+big+`}`, 200)
	r.idle()
	got := r.merchant.received()
	if string(got[0].Body) != exact {
		t.Errorf("sent %s", got[0].Body)
	}
	if h := got[1]; string(h.Body) != "\xff{" || h.Header.Get("x-axra-signature") != hmacHex("s", "\xff{") || h.Header.Get("X-Extra") != "1" {
		t.Errorf("sent %q with %v", h.Body, h.Header)
	}
	if string(got[2].Body) != big {
		t.Error("the big one was not sent whole")
	}
	r.control("/sandbox/events", `{}`, 400)
	r.control("/sandbox/events", `{"body":{},"raw":"AA=="}`, 400)
	if resp := r.get("/sandbox/deliveries"); resp.StatusCode != 200 {
		t.Errorf("a body that is no JSON breaks the list: %d", resp.StatusCode)
	}
}

func TestDashboard(t *testing.T) {
	r := newRig(t, nil)
	r.wantPage(r.get("/"), 200, "None yet.")
	open, local := r.session(anOrder), r.local()
	payment := r.pay(r.session(anOrder), visa).PaymentID
	collection := r.pay(local, PayWith{Local: true}).CollectionID
	r.idle()
	delivery := r.Deliveries()[0].ID
	page := r.get("/")
	r.wantPage(page, 200, open.ID, payment, collection, delivery, "5.00 USD", "1500.00 NGN", "Thirty days <b>",
		"/dashboard/payments/"+payment+"/refund", "/dashboard/payments/"+payment+"/dispute", "/dashboard/payments/"+payment+"/settle",
		"/dashboard/collections/"+collection+"/complete", "/dashboard/collections/"+collection+"/fail", "/dashboard/collections/"+collection+"/expire",
		"/dashboard/deliveries/"+delivery+"/resend", "/dashboard/sessions/"+open.ID+"/expire")
	for _, kind := range FaultKinds() {
		r.wantPage(page, 200, ">"+string(kind)+"</option>")
	}
	for _, secret := range []string{DefaultAPIKey, DefaultAPISecret} {
		if strings.Contains(string(page.body), secret) {
			t.Error("a credential is shown")
		}
	}

	r.wantRedirect(r.form("/dashboard/payments/"+payment+"/dispute"), "/#payments")
	r.wantPage(r.get("/"), 200, "/dashboard/payments/"+payment+"/win", "/dashboard/payments/"+payment+"/lose")
	r.wantRedirect(r.form("/dashboard/payments/"+payment+"/win"), "/#payments")
	r.wantPage(r.form("/dashboard/payments/"+payment+"/lose"), 409, "Not done")
	r.wantPage(r.form("/dashboard/payments/none/refund"), 404, "Not done")
	r.wantRedirect(r.form("/dashboard/collections/"+collection+"/complete"), "/#collections")
	r.wantRedirect(r.form("/dashboard/deliveries/"+delivery+"/resend"), "/#deliveries")
	r.wantRedirect(r.form("/dashboard/sessions/"+open.ID+"/expire"), "/#sessions")
	r.wantRedirect(r.form("/dashboard/faults", "kind", "hang", "times", "2"), "/#faults")
	if f := r.Fault(); f.Kind != FaultHang || f.Times != 2 {
		t.Errorf("fault %+v", f)
	}
	r.wantPage(r.form("/dashboard/faults", "kind", "flood", "times", "2"), 400, "Not done")
	r.wantPage(r.form("/dashboard/faults", "kind", "hang", "times", "many"), 400, "Not done")
	r.wantRedirect(r.form("/dashboard/webhooks", "url", r.merchant.URL+"/x", "duplicate", "3", "hold", "on"), "/#webhooks")
	if m := r.Mode(); !m.Hold || m.Copies != 3 || m.Shuffle || r.WebhookURL() != r.merchant.URL+"/x" {
		t.Errorf("mode %+v", m)
	}
	r.wantPage(r.form("/dashboard/webhooks", "duplicate", ""), 400, "Not done")
	r.wantRedirect(r.form("/dashboard/webhooks", "duplicate", "1"), "/#webhooks")
	if r.Mode().Hold {
		t.Error("an unchecked box does not release")
	}
	r.wantRedirect(r.form("/dashboard/reset"), "/")
	if len(r.Sessions()) != 0 {
		t.Error("not forgotten")
	}
	if resp := r.get("/nowhere"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("unknown path: %d", resp.StatusCode)
	}
}

// Every button that the dashboard shows must do something.
func TestButtonsMatchTheirActions(t *testing.T) {
	r := newRig(t, nil)
	for _, status := range []Status{StatusCompleted, StatusFailed, StatusRefunded, StatusDisputed, StatusDisputeWon, StatusDisputeLost} {
		for _, settled := range []bool{false, true} {
			p := &Payment{ID: newID("bpay_", r.clock.now()), Status: status, Settled: settled, Amount: "5", Currency: "usd"}
			offered := map[string]bool{}
			for _, name := range p.Actions() {
				offered[name] = true
			}
			for name, do := range r.paymentActions() {
				again := *p
				again.ID = newID("bpay_", r.clock.now())
				r.mu.Lock()
				r.payments.add(again.ID, &again)
				r.mu.Unlock()
				if err := do(again.ID); (err == nil) != offered[name] {
					t.Errorf("%s (settled %v): %s offered %v, but %v", status, settled, name, offered[name], err)
				}
			}
		}
	}
	r.idle()
}
