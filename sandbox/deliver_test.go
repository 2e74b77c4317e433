package sandbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func hmacHex(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestSignatures(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   func(h hook) bool
	}{
		{"default", func(*Config) {}, func(h hook) bool {
			return h.Header.Get("x-axra-signature") == hmacHex(DefaultAPISecret, string(h.Body)) && h.Header.Get("x-axra-timestamp") == ""
		}},
		{"the API secret is the webhook secret", func(c *Config) { c.APISecret = "bs_test_mine" }, func(h hook) bool {
			return h.Header.Get("x-axra-signature") == hmacHex("bs_test_mine", string(h.Body))
		}},
		{"own secret, header and prefix", func(c *Config) {
			c.WebhookSecret, c.SignatureHeader, c.SignaturePrefix = "whsec", "X-Sig", true
		}, func(h hook) bool {
			return h.Header.Get("X-Sig") == "sha256="+hmacHex("whsec", string(h.Body)) && h.Header.Get("x-axra-signature") == ""
		}},
		{"timestamp.body", func(c *Config) { c.SignatureScheme, c.TimestampHeader = SchemeTimestampBody, "X-Time" }, func(h hook) bool {
			return h.Header.Get("X-Time") == "1936785600" &&
				h.Header.Get("x-axra-signature") == hmacHex(DefaultAPISecret, "1936785600."+string(h.Body))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.change)
			r.pay(r.session(anOrder), visa)
			r.idle()
			if h := r.merchant.received()[0]; !tc.want(h) {
				t.Errorf("headers %v", h.Header)
			}
		})
	}
}

func TestSecretRotation(t *testing.T) {
	r := newRig(t, nil)
	if err := r.SetWebhookSecret("new"); err != nil {
		t.Fatal(err)
	}
	r.pay(r.session(anOrder), visa)
	r.idle()
	if h := r.merchant.received()[0]; h.Header.Get("x-axra-signature") != hmacHex("new", string(h.Body)) {
		t.Error("signed with the old secret")
	}
	if r.SetWebhookSecret("") == nil {
		t.Error("an empty secret was taken")
	}
}

func TestRetryUntil2xx(t *testing.T) {
	r := newRig(t, nil)
	statuses := []int{500, 302, 404, 401, 204}
	r.merchant.answer = func(n int) int { return statuses[n-1] }
	r.pay(r.session(anOrder), visa)
	r.idle()
	d := r.Deliveries()[0]
	if d.Status != StatusDelivered || d.Tried != len(statuses) {
		t.Fatalf("delivery %+v", d)
	}
	bodies := r.merchant.received()
	for i, a := range d.Attempts {
		if a.Number != i+1 || a.Status != statuses[i] || a.Time.IsZero() {
			t.Errorf("attempt %+v", a)
		}
		if string(bodies[i].Body) != string(d.Body) {
			t.Error("a retry sent other bytes")
		}
	}
}

func TestRetryDelays(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.RetryDelays = []time.Duration{time.Millisecond, 30 * time.Millisecond}
		c.MaxAttempts = 4
	})
	r.merchant.answer = func(int) int { return 503 }
	begin := time.Now()
	r.pay(r.session(anOrder), visa)
	r.idle()
	// 1 + 30 + 30 ms: the last delay repeats.
	if took := time.Since(begin); took < 60*time.Millisecond {
		t.Errorf("gave up after %v", took)
	}
	if d := r.Deliveries()[0]; d.Status != StatusFailed || d.Tried != 4 {
		t.Errorf("delivery %s after %d attempts", d.Status, d.Tried)
	}
}

func TestUnreachableMerchant(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAttempts = 60 })
	r.merchant.Close()
	r.pay(r.session(anOrder), visa)
	r.idle()
	d := r.Deliveries()[0]
	if d.Tried != 60 || len(d.Attempts) != maxAttemptsKept || d.Attempts[0].Number != 11 {
		t.Fatalf("%d attempts, %d kept, from %d", d.Tried, len(d.Attempts), d.Attempts[0].Number)
	}
	if a := d.Attempts[0]; a.Status != 0 || a.Error == "" {
		t.Errorf("attempt %+v", a)
	}
}

func TestRedirectsOfWebhooksAreNotFollowed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxAttempts = 1 })
	var followed atomic.Bool
	redirecting := newMerchant(t)
	redirecting.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/next" {
			followed.Store(true)
			return
		}
		http.Redirect(w, req, "/next", http.StatusTemporaryRedirect)
	})
	if err := r.SetWebhookURL(redirecting.URL + "/hook"); err != nil {
		t.Fatal(err)
	}
	r.pay(r.session(anOrder), visa)
	r.idle()
	if d := r.Deliveries()[0]; d.Status != StatusFailed || d.Attempts[0].Status != 307 || followed.Load() {
		t.Errorf("delivery %+v, followed %v", d, followed.Load())
	}
}

func TestHoldAndRelease(t *testing.T) {
	r := newRig(t, nil)
	r.Hold()
	out := r.pay(r.session(anOrder), visa)
	if err := r.Refund(out.PaymentID); err != nil {
		t.Fatal(err)
	}
	r.idle()
	if n := len(r.merchant.received()); n != 0 {
		t.Fatalf("%d webhooks were sent while held", n)
	}
	for _, d := range r.Deliveries() {
		if d.Status != StatusHeld {
			t.Errorf("status %s", d.Status)
		}
	}
	r.Release()
	r.wantEvents(EventPaymentCompleted, EventPaymentRefunded)
	if err := r.Settle(r.pay(r.session(anOrder), visa).PaymentID); err != nil {
		t.Fatal(err)
	}
	r.wantEvents(EventPaymentCompleted, EventPaymentRefunded, EventPaymentCompleted, EventPaymentSettled)
}

func TestResendPicksTheOrder(t *testing.T) {
	r := newRig(t, nil)
	r.Hold()
	out := r.pay(r.session(anOrder), visa)
	if err := r.Refund(out.PaymentID); err != nil {
		t.Fatal(err)
	}
	list := r.Deliveries()
	for _, d := range slices.Backward(list) {
		if err := r.Resend(d.ID); err != nil {
			t.Fatal(err)
		}
		r.idle()
	}
	r.wantEvents(EventPaymentRefunded, EventPaymentCompleted)
	r.Release() // nothing is left to send
	r.wantEvents(EventPaymentRefunded, EventPaymentCompleted)
}

func TestDuplicates(t *testing.T) {
	r := newRig(t, nil)
	if err := r.SetMode(Mode{Copies: 5}); err != nil {
		t.Fatal(err)
	}
	r.pay(r.session(anOrder), visa)
	r.wantEvents(slices.Repeat([]string{EventPaymentCompleted}, 5)...)
	bodies := map[string]bool{}
	for _, h := range r.merchant.received() {
		bodies[string(h.Body)] = true
	}
	if len(bodies) != 1 || len(r.Deliveries()) != 5 {
		t.Errorf("%d bodies, %d deliveries", len(bodies), len(r.Deliveries()))
	}
	for _, n := range []int{-1, MaxCopies + 1} {
		if err := r.SetMode(Mode{Copies: n}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d copies: %v", n, err)
		}
	}
}

func TestShuffle(t *testing.T) {
	r := newRig(t, nil)
	if err := r.SetMode(Mode{Hold: true, Shuffle: true}); err != nil {
		t.Fatal(err)
	}
	const n = 20
	var sent []string
	for range n {
		sent = append(sent, r.pay(r.session(anOrder), visa).PaymentID)
	}
	r.Release()
	r.idle()
	var got []string
	for _, h := range r.merchant.received() {
		got = append(got, h.Data["paymentId"].(string))
	}
	if slices.Equal(got, sent) { // by chance once in 20!
		t.Error("the order is the old one")
	}
	slices.Sort(got)
	slices.Sort(sent)
	if !slices.Equal(got, sent) {
		t.Errorf("%d of %d arrived", len(got), n)
	}
}

func TestEventsOfASessionKeepTheirOrder(t *testing.T) {
	r := newRig(t, nil)
	var want []string
	out := r.pay(r.session(anOrder), visa)
	want = append(want, EventPaymentCompleted)
	for _, step := range []struct {
		event string
		do    func(string) error
	}{{EventPaymentSettled, r.Settle}, {EventPaymentDisputed, r.Dispute}, {EventDisputeWon, r.Win}, {EventPaymentRefunded, r.Refund}} {
		if err := step.do(out.PaymentID); err != nil {
			t.Fatal(err)
		}
		want = append(want, step.event)
	}
	r.wantEvents(want...)
}

func TestAFailingDeliveryDoesNotBlockTheNext(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RetryDelays = []time.Duration{time.Hour} })
	r.merchant.answer = func(n int) int {
		if n == 1 {
			return 500
		}
		return 200
	}
	out := r.pay(r.session(anOrder), visa)
	if err := r.Refund(out.PaymentID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refund", func() bool { return len(r.merchant.received()) == 2 })

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Idle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Idle: %v", err)
	}
	if err := r.Resend(r.Deliveries()[0].ID); err != nil { // wakes it
		t.Fatal(err)
	}
	r.wantEvents(EventPaymentCompleted, EventPaymentRefunded, EventPaymentCompleted)
}

func TestResendOfADeliveredOne(t *testing.T) {
	r := newRig(t, nil)
	r.pay(r.session(anOrder), visa)
	r.idle()
	for range 3 {
		if err := r.Resend(r.Deliveries()[0].ID); err != nil {
			t.Fatal(err)
		}
		r.idle()
	}
	if n := len(r.merchant.received()); n != 4 {
		t.Errorf("%d webhooks", n)
	}
	if err := r.Resend("dlv_none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown delivery: %v", err)
	}
}

func TestAftermath(t *testing.T) {
	for _, tc := range []struct {
		steps string // the last one is refused when it begins with !
		last  string
	}{
		{"refund", EventPaymentRefunded},
		{"settle", EventPaymentSettled},
		{"dispute", EventPaymentDisputed},
		{"dispute win", EventDisputeWon},
		{"dispute lose", EventDisputeLost},
		{"settle refund", EventPaymentRefunded},
		{"dispute win refund", EventPaymentRefunded},
		{"refund !refund", EventPaymentRefunded},
		{"settle !settle", EventPaymentSettled},
		{"refund !settle", EventPaymentRefunded},
		{"refund !dispute", EventPaymentRefunded},
		{"!win", EventPaymentCompleted},
		{"!lose", EventPaymentCompleted},
		{"dispute !refund", EventPaymentDisputed},
	} {
		t.Run(tc.steps, func(t *testing.T) {
			r := newRig(t, nil)
			out := r.pay(r.session(anOrder), visa)
			do := r.paymentActions()
			for step := range strings.FieldsSeq(tc.steps) {
				name, refused := strings.CutPrefix(step, "!")
				if err := do[name](out.PaymentID); errors.Is(err, ErrConflict) != refused || (err != nil) != refused {
					t.Errorf("%s: %v", step, err)
				}
			}
			r.idle()
			events := r.merchant.events()
			if got := events[len(events)-1]; got != tc.last {
				t.Errorf("last event %s", got)
			}
			h := r.merchant.received()[len(events)-1]
			if h.Data["paymentId"] != out.PaymentID || h.Data["metadata"].(map[string]any)["pass"] != "gold" {
				t.Errorf("data %v", h.Data)
			}
		})
	}
	r := newRig(t, nil)
	failed := r.pay(r.session(anOrder), PayWith{Card: "4000000000000002"})
	if err := r.Refund(failed.PaymentID); !errors.Is(err, ErrConflict) {
		t.Errorf("refund of a failed payment: %v", err)
	}
	if err := r.Refund("bpay_none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("refund of nothing: %v", err)
	}
}

func TestSend(t *testing.T) {
	r := newRig(t, nil)
	raw := []byte("\xef\xbb\xbf{ \"event\" : \"x\"")
	for _, e := range []Event{
		{Body: raw},
		{Body: []byte(`{"event":"payment.refunded"}`), Secret: "other"},
		{Body: []byte(`{"event":"y"}`), Header: map[string]string{"X-Axra-Signature": "forged"}},
	} {
		ids, err := r.Send(e)
		if err != nil || len(ids) != 1 {
			t.Fatalf("Send: %v, %v", ids, err)
		}
		r.idle()
	}
	got := r.merchant.received()
	if string(got[0].Body) != string(raw) || got[0].Header.Get("x-axra-signature") != hmacHex(DefaultAPISecret, string(raw)) {
		t.Error("the bytes are not those given")
	}
	if got[1].Header.Get("x-axra-signature") != hmacHex("other", string(got[1].Body)) || r.Deliveries()[1].Event != EventPaymentRefunded {
		t.Error("not signed with the other secret, or without a name")
	}
	if got[2].Header.Get("x-axra-signature") != "forged" {
		t.Error("the header was not replaced")
	}
}

func TestCloseEndsDeliveries(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RetryDelays = []time.Duration{time.Hour} })
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	r.merchant.answer = func(n int) int {
		if n == 1 {
			return 500 // waits an hour
		}
		<-stuck // hangs
		return 200
	}
	r.pay(r.session(anOrder), visa)
	eventually(t, "a failed attempt", func() bool { return r.Deliveries()[0].Tried == 1 })
	r.pay(r.session(anOrder), visa)
	eventually(t, "a hanging attempt", func() bool { return len(r.merchant.received()) == 2 })
	begin := time.Now()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if d := r.Deliveries()[1]; d.Status != StatusPending || d.Tried != 0 {
		t.Errorf("the attempt that was cut off counts: %+v", d)
	}
}
