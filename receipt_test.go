package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReceipt(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("receipt", `description "Member of {path}"`)})
	v := w.visitor()
	v.open(receiptPage).wantCheckout(t, w) // nothing to show yet
	receipt := v.buy("/premium/article.html?x=1", cardGood)
	for _, words := range []string{"Your receipt", "5.00 USD", "Member of /premium/article.html", "1 of 3", "<svg"} {
		if receipt.status != http.StatusOK || !strings.Contains(receipt.body, words) {
			t.Fatalf("after the payment %d, without %q:\n%s", receipt.status, words, receipt.body)
		}
	}
	if until := w.now().Add(30 * day).UTC().Format(time.DateOnly); !strings.Contains(receipt.body, until) {
		t.Errorf("access is not said to last until %s", until)
	}
	v.open(link(t, receipt, "Continue to the page")).wantPaid(t)
	v.open("/premium/other.html").wantPaid(t)
	v.open(receiptPage).wantPage(t, http.StatusOK, "Your receipt")
	w.visitor().open(receiptPage).wantCheckout(t, w)
	phone := w.visitor()
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
	v.open(receiptPage).wantPage(t, http.StatusOK, "2 of 3")
	if answer := v.do(http.MethodGet, receiptPage, nil, nil); !strings.Contains(answer.body, marker) {
		t.Errorf("a program that has paid sees %d %s", answer.status, answer.body)
	}
}
