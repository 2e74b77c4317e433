package contract

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

func TestAProgramBuys(t *testing.T) {
	for name, test := range map[string]struct {
		path, pass string
		price      string
		access     time.Duration // 0: without an end
	}{
		"one file, at its own price": {path: "/sheets/february.txt", pass: "/sheets/*", price: "2.50 eur"},
		"a pass that ends":           {path: "/premium/spring-tides.html", pass: "/premium/*", price: "5.00 usd", access: 30 * 24 * time.Hour},
		"a pass of several":          {path: "/archive/index.html", pass: "year", price: "20.00 usd", access: 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			offer := p.ask(test.path)
			at := slices.IndexFunc(offer.Passes, func(each forSale) bool { return each.Pass == test.pass })
			if at < 0 {
				t.Fatalf("%s is not on sale: %+v", test.pass, offer)
			}
			chosen := offer.Passes[at]
			if price := chosen.Amount.String() + " " + chosen.Currency; price != test.price || chosen.Access != int64(test.access/time.Second) {
				t.Errorf("on sale: %+v", chosen)
			}
			c := p.start(chosen.Checkout)
			if price := c.Amount.String() + " " + c.Currency; price != test.price || c.Pass != test.pass || c.StatusURL != offer.StatusURL {
				t.Errorf("started: %+v", c)
			}

			p.await(c, "waiting")
			payByForm(t, c.CheckoutURL, cardDeclined)
			p.await(c, "failed")
			p.want(p.get(test.path, "Authorization", "Bearer "+c.StatusToken), http.StatusPaymentRequired)
			payByForm(t, c.CheckoutURL, cardGood)
			paid := p.await(c, "paid")
			checkEnd(t, paid, test.access)

			bearer := "Bearer " + paid.AccessToken
			p.wantPaid(p.get(test.path, "Authorization", bearer), test.path)
			p.Control("payments/"+p.paymentOf(c)+"/refund", "")
			p.await(c, "refunded")
			exampletest.Eventually(t, "the gate is closed", func() bool {
				closed := p.get(test.path, "Authorization", bearer)
				return closed.status == http.StatusPaymentRequired && strings.Contains(closed.body, "#payment-required")
			})
		})
	}
}

// checkEnd: access lasts from the payment.
func checkEnd(t *testing.T, paid status, access time.Duration) {
	t.Helper()
	if access == 0 {
		if paid.Until != nil || time.Until(paid.ExpiresAt) < 300*24*time.Hour {
			t.Errorf("access without an end: %+v", paid)
		}
		return
	}
	if paid.Until == nil || !paid.ExpiresAt.Equal(*paid.Until) {
		t.Fatalf("the end of access: %+v", paid)
	}
	if left := time.Until(*paid.Until); left > access || left < access-time.Minute {
		t.Errorf("%s of %s are left", left, access)
	}
}
