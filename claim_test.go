package paywall_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const (
	claimPage   = "Continue in this browser?"
	claimButton = "I have paid: continue here"
)

// paidElsewhere pays for the article and returns the address to which Axra leads,
// which has not been opened yet.
func (v *visitor) paidElsewhere() (back string) {
	v.w.t.Helper()
	answer := v.pay(v.browse("/premium/article.html?x=1"), cardGood)
	v.w.delivered()
	return answer.location()
}

func TestAnotherBrowserClaimsThePayment(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	v, bank, friend := w.visitor(), w.visitor(), w.visitor()
	back := v.paidElsewhere()
	page := bank.open(back)
	page.wantPage(t, http.StatusPaymentRequired, claimPage)
	answer := bank.submit(page, claimButton, nil)
	if answer.location() != "/premium/article.html?x=1" {
		t.Fatalf("claimed: %d to %q\n%s", answer.status, answer.location(), answer.body)
	}
	bank.open("/premium/article.html").wantPaid(t)

	// S3: once.
	page = friend.open(back)
	page.wantPage(t, http.StatusPaymentRequired, claimPage)
	friend.submit(page, claimButton, nil).wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
	if answer := friend.open("/premium/article.html"); strings.Contains(answer.body, marker) {
		t.Error("S3: a second browser is let in")
	}
	// The browser that started it has paid, whoever else has claimed.
	v.browse("/premium/article.html").wantPaid(t)
	w.pass(60e9)
	bank.open("/premium/article.html").wantPaid(t)

	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	if answer := bank.open("/premium/article.html"); answer.status != http.StatusPaymentRequired {
		t.Errorf("T7: after a refund %d", answer.status)
	}
}

func TestS3WhatItsOwnBrowserHasTakenIsClaimedByNobody(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	v, friend := w.visitor(), w.visitor()
	back := v.paidElsewhere()
	v.browse(back).wantPaid(t)
	friend.submit(friend.open(back), claimButton, nil).wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
}

func TestS3ManyClaimAtOnce(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	back := w.visitor().paidElsewhere()
	var (
		together sync.WaitGroup
		mu       sync.Mutex
		in       int
	)
	for range 32 {
		friend := w.visitor()
		together.Go(func() {
			answer := friend.submit(friend.open(back), claimButton, nil)
			mu.Lock()
			defer mu.Unlock()
			if answer.status == http.StatusSeeOther {
				in++
			}
		})
	}
	together.Wait()
	if in != 1 || w.rows("claims") != 1 {
		t.Errorf("%d of 32 browsers are let in", in)
	}
}

func TestS1S2NobodyClaimsWhatIsNotPaid(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	v := w.visitor()
	unpaid, _ := v.started("/premium/article.html")
	stranger := w.visitor()
	calls := w.creations()
	said := map[string]bool{}
	for name, id := range map[string]string{
		"unpaid": unpaid, "guessed": "cs_AAAAAAAAAAAAAAAAAAAAAAAAAA", "the placeholder": "{SESSION_ID}", "a path": "../../keyring.json",
		"12 KB": strings.Repeat("A", 12<<10), "a control character": "cs_\x00", "a space": " ", "a part of another": unpaid + "#1",
	} {
		target := "/premium/article.html?axra_session=" + url.QueryEscape(id)
		page := stranger.open(target)
		page.wantPage(t, http.StatusPaymentRequired, claimPage)
		answer := stranger.do(http.MethodPost, target+"&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ"+w.formTime(), navigation, nil)
		answer.wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
		if answer.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: a cookie is set", name)
		}
		for _, body := range []string{page.body, answer.body} {
			said[regexp.MustCompile(`action="[^"]*"`).ReplaceAllString(body, "")] = true
		}
	}
	if len(said) != 2 { // one before, one after the button
		t.Errorf("S2: %d different answers", len(said))
	}
	if w.creations() != calls || w.rows("payments") != 0 {
		t.Error("a guess has called Axra or written to storage")
	}
	// As soon as it is paid, the same form goes on.
	form := stranger.open("/premium/article.html?axra_session=" + unpaid)
	later := stranger.submit(form, claimButton, nil)
	w.pass(1)
	v.pay(v.browse("/premium/article.html"), cardGood)
	w.delivered()
	if answer := stranger.submit(later, "Try again", nil); answer.status != http.StatusSeeOther {
		t.Errorf("after the payment %d", answer.status)
	}
}

func TestS3NobodyClaimsWhatWasNotSoldSo(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, friend := w.visitor(), w.visitor()
	back := v.paidElsewhere()
	friend.open(back).wantPage(t, http.StatusForbidden, "started in another browser")
	post := strings.Replace(back, w.site, "", 1) + "&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + w.formTime()
	friend.do(http.MethodPost, post, navigation, nil).wantPage(t, http.StatusForbidden, "started in another browser")
	w.load(member("claim first"))
	friend.submit(friend.open(back), claimButton, nil).wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
	if w.rows("claims") != 0 {
		t.Error("a place was taken")
	}
}

func TestS4AClaimOpensWhatWasSold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member("claim first"), "\troot ROOT",
		"\taxra_paywall /dear/* {\n\t\tprice 500 usd\n\t\tclaim first\n\t}\n\troot ROOT", 1)})
	w.write("dear/index.html", marker)
	v, friend := w.visitor(), w.visitor()
	back, _ := url.Parse(v.paidElsewhere())
	friend.submit(friend.open("/dear/?axra_session="+back.Query().Get("axra_session")), claimButton, nil).
		wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
	header := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	post := "/premium/article.html?" + back.RawQuery + "&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + w.formTime()
	if answer := friend.do(http.MethodPost, post, header, nil); answer.status != http.StatusForbidden {
		t.Errorf("sent from another site: %d", answer.status)
	}
	if w.rows("claims") != 0 {
		t.Error("a place was taken")
	}
}

func TestD2AClaimWhileTheLedgerFails(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	v, bank := w.visitor(), w.visitor()
	back := v.paidElsewhere()
	form := bank.open(back)
	w.breakLedger()
	bank.submit(form, claimButton, nil).wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.mendLedger()
	if answer := bank.submit(form, claimButton, nil); answer.status != http.StatusSeeOther {
		t.Errorf("afterwards %d", answer.status)
	}
}

func TestS3WhatAProgramHasTakenIsClaimedByNobody(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	program, payer := w.visitor(), w.visitor()
	program.client.Jar = nil
	var checkout struct{ Session, CheckoutURL, StatusURL, StatusToken string }
	decode(t, program.do(http.MethodPost, "/premium/article.html?axra_checkout=member", nil, nil), &checkout)
	back := payer.pay(payer.browse(checkout.CheckoutURL), cardGood)
	w.delivered()
	payer.open(back.location()).wantPage(t, http.StatusOK, "Return to your program")
	post := "/premium/article.html?axra_session=" + checkout.Session + "&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + w.formTime()
	payer.do(http.MethodPost, post, navigation, nil).wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
}

func TestS3AnOldPaymentIsClaimedByNobody(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	back := w.visitor().paidElsewhere()
	w.pass(8 * day)
	friend := w.visitor()
	friend.submit(friend.open(back), claimButton, nil).wantPage(t, http.StatusPaymentRequired, "cannot be used here yet")
}

// The address of a form is good for one place, for a moment.
func TestS3AFormIsNotAsGoodAsItsPlace(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("claim first")})
	back := w.visitor().paidElsewhere()
	post := strings.Replace(back, w.site, "", 1) + "&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + w.formTime()
	if answer := w.visitor().do(http.MethodPost, post, navigation, nil); answer.status != http.StatusSeeOther {
		t.Fatalf("the first: %d", answer.status)
	}
	w.pass(11 * 60e9)
	if answer := w.visitor().do(http.MethodPost, post, navigation, nil); answer.status == http.StatusSeeOther {
		t.Error("the same form, later")
	}
}
