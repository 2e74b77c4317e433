package paywall_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
)

const deviceLink = "Link for the other device"

// openOnDevice opens a device link as a person does: by the button of its page.
func (v *visitor) openOnDevice(address string) reply {
	v.w.t.Helper()
	page := v.open(address)
	page.wantPage(v.w.t, http.StatusOK, "on this device?")
	answer := v.submit(page, "Open on this device", nil)
	if answer.location() == "" {
		return answer
	}
	return v.browse(answer.next())
}

func TestAnotherDevice(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html?x=1", cardGood).wantPaid(t)
	address := link(t, v.open("/premium/article.html?x=1&axra_receipt"), deviceLink)
	phone, tablet, television := w.visitor(), w.visitor(), w.visitor()
	for range 5 { // who only looks takes no place
		w.visitor().open(address).wantPage(t, http.StatusOK, "1 of 3")
	}
	phone.openOnDevice(address).wantPaid(t)
	phone.open("/premium/other.html").wantPaid(t)
	if again := phone.open(address); again.location() != "/premium/article.html?x=1" {
		t.Errorf("who has it already is led to %d %q", again.status, again.location())
	}
	second := link(t, phone.open(receiptPage), deviceLink) // any device may pass it on
	tablet.openOnDevice(second).wantPaid(t)
	television.open(address).wantPage(t, http.StatusForbidden, "All devices of this purchase are in use")
	full := v.open(receiptPage)
	full.wantPage(t, http.StatusOK, "3 of 3")
	if link(t, full, deviceLink) != "" {
		t.Error("the receipt has a link that opens nothing")
	}
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}

	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	for name, device := range map[string]*visitor{"paid": v, "phone": phone, "tablet": tablet} {
		if answer := device.open("/premium/article.html"); answer.status != http.StatusPaymentRequired {
			t.Errorf("T7: after a refund %s sees %d", name, answer.status)
		}
	}
}

func TestAnExtensionCountsOnEveryDevice(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, phone := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
	v.buyLonger("/premium/article.html").wantPaid(t)
	phone.buyLonger("/premium/article.html").wantPaid(t) // from there, too
	w.pass(29 * day)
	phone.open("/premium/article.html").wantPaid(t)
	v.open("/premium/article.html").wantPaid(t) // its token is renewed
	w.pass(20 * day)
	v.open("/premium/article.html").wantPaid(t)
	v.open(receiptPage).wantPage(t, http.StatusOK, "2 of 3")
	w.wantOpenUntil(phone, "/premium/article.html", 41*day)
}

func TestS3AFormSentTwiceTakesOnePlace(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("devices 2")})
	v, phone := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	form := phone.open(address)
	for range 2 {
		if answer := phone.submit(form, "Open on this device", nil); answer.status != http.StatusSeeOther {
			t.Errorf("the form is answered %d", answer.status)
		}
	}
	phone.open("/premium/article.html").wantPaid(t)

	friends := make(chan int, 8)
	var together sync.WaitGroup
	late := w.visitor()
	for range cap(friends) {
		together.Go(func() {
			friends <- late.do(http.MethodPost, address+"&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ"+w.formTime(), navigation, nil).status
		})
	}
	together.Wait()
	close(friends)
	for status := range friends {
		if status != http.StatusForbidden {
			t.Errorf("a third device is answered %d", status)
		}
	}
	if devices := w.rows("devices"); devices != 2 {
		t.Errorf("%d devices", devices)
	}
}

func TestT6WhatIsNoDeviceLinkOpensNothing(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.open("/premium/other.html")
	pending := v.cookieFor("/premium/", "axra_p_")
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	_, token, _ := strings.Cut(address, "axra_device=")
	stranger := w.visitor()
	for name, forged := range map[string]string{
		"nothing": "", "garbage": "x", "the pending cookie": pending, "the access token": v.cookieFor("/premium/", "axra_t_"),
		"cut": token[:len(token)-1], "longer": token + "A", "64 KB": strings.Repeat("A", 12<<10), "a path": "../../x", "one byte changed": "A" + token[1:],
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := stranger.do(method, "/premium/article.html?axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ"+w.formTime()+"&axra_device="+forged, navigation, nil)
			answer.wantPage(t, http.StatusForbidden, "cannot be opened on this device")
			if answer.header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %s sets a cookie", name, method)
			}
		}
	}
	for _, other := range []http.Header{
		{"Cookie": {v.cookieNameFor("/premium/", "axra_t_") + "=" + token}}, {"Authorization": {"Bearer " + token}},
	} {
		if answer := stranger.do(http.MethodGet, "/premium/article.html", other, nil); answer.status != http.StatusPaymentRequired {
			t.Errorf("a device link as a token is answered %d", answer.status)
		}
	}
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		if answer := stranger.do(http.MethodPost, address+"&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ"+w.formTime(), header, nil); answer.status != http.StatusForbidden {
			t.Errorf("sent from elsewhere (%v) the form is answered %d", header, answer.status)
		}
	}
	for _, holder := range []string{"", "short", "ABCDEFGHIJKLMNOP/../x", strings.Repeat("A", 65)} {
		if answer := stranger.do(http.MethodPost, address+"&axra_device_id="+holder, navigation, nil); answer.status == http.StatusSeeOther {
			t.Errorf("a holder %q gets a place", holder)
		}
	}
	if w.rows("devices") != 1 {
		t.Error("a device was added")
	}
	w.pass(25 * 60 * 60e9)
	stranger.open(address).wantPage(t, http.StatusForbidden, "cannot be opened on this device")
}

func TestC2APreviewOfADeviceLinkTakesNoPlace(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	for name, preview := range map[string]struct {
		header http.Header
		want   int
	}{
		"a chat":    {http.Header{"User-Agent": {"WhatsApp/2.23"}}, http.StatusPaymentRequired},
		"a crawler": {http.Header{"User-Agent": {"Mozilla/5.0 (compatible; Googlebot/2.1)"}, "Accept": {"text/html"}}, http.StatusOK}, // the page that asks
		"curl":      {nil, http.StatusPaymentRequired},
	} {
		if answer := w.visitor().do(http.MethodGet, address, preview.header, nil); answer.status != preview.want {
			t.Errorf("%s: %d", name, answer.status)
		}
	}
	if w.rows("devices") != 1 || w.creations() != 1 {
		t.Error("a preview has changed something")
	}
}

func TestDevicesThatWereSoldAreHonoured(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("devices 2")})
	v, phone := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.load(member("devices 1"))
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
	w.load(member("devices 9"))
	v.open(receiptPage).wantPage(t, http.StatusOK, "2 of 2")
}

func TestD2D3DevicesWhileTheLedgerFails(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, phone, late := w.visitor(), w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	form := late.open(address)
	phone.openOnDevice(address).wantPaid(t)
	w.breakLedger()
	w.restart()
	late.open(address).wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	late.submit(form, "Open on this device", nil).wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.mendLedger()
	phone.open("/premium/article.html").wantPaid(t)
	late.openOnDevice(address).wantPaid(t)
}

func TestADeviceThatWasRemovedIsTold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, phone := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	w.pass(time.Second)
	phone.openOnDevice(address).wantPaid(t)
	running, err := paywall.RunningLedger()
	mustDo(t, err)
	bought, err := running.Details(t.Context(), ledger.PurchaseID(w.lastPayment().SessionID))
	mustDo(t, err)
	mustDo(t, running.RemoveDevice(t.Context(), bought.ID, bought.Devices[len(bought.Devices)-1].ID))
	phone.open("/premium/article.html").wantPage(t, http.StatusForbidden, "cannot be opened on this device")
	v.open("/premium/article.html").wantPaid(t)
	phone.open(address).wantPage(t, http.StatusForbidden, "cannot be opened on this device")
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
}

// A checkout that was open before is no extension.
func TestAnOpenCheckoutIsNotTakenForAnExtension(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, phone := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	phone.open("/premium/article.html").wantCheckout(t, w)
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
	phone.buyLonger("/premium/article.html").wantPaid(t)
	w.wantOpenUntil(v, "/premium/article.html", 60*day)
}

// Whoever lures a paying visitor to a purchase of their own takes nothing away.
func TestADeviceLinkDoesNotReplaceAnotherPurchase(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v, other := w.visitor(), w.visitor()
	other.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, other.open(receiptPage), deviceLink)
	theirs := w.lastPayment().ID
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	form := strings.Replace(address, w.site, "", 1) + "&axra_device_id=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + w.formTime()
	for _, answer := range []reply{v.open(address), v.do(http.MethodPost, form, navigation, nil)} {
		if answer.location() != "/premium/article.html" || answer.header.Get("Set-Cookie") != "" {
			t.Errorf("answered %d %q %v", answer.status, answer.location(), answer.header)
		}
	}
	if err := w.sandbox.Refund(theirs); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	v.open("/premium/article.html").wantPaid(t)
}

// What was bought oneself counts when the other purchase is refunded.
func TestAFriendsPurchaseDoesNotSwallowOnesOwn(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	friend, v := w.visitor(), w.visitor()
	friend.buy("/premium/article.html", cardGood).wantPaid(t)
	friends := []string{w.lastPayment().ID}
	friend.buyLonger("/premium/article.html").wantPaid(t)
	for _, p := range w.sandbox.Payments() {
		if p.ID != friends[0] {
			friends = append(friends, p.ID)
		}
	}
	checkout := v.browse("/premium/article.html")
	v.openOnDevice(link(t, friend.open(receiptPage), deviceLink)).wantPaid(t)
	back := v.pay(checkout, cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	w.pass(8 * day)
	for _, id := range friends {
		if err := w.sandbox.Refund(id); err != nil {
			t.Fatal(err)
		}
	}
	w.delivered()
	w.pass(time.Minute)
	v.browse("/premium/article.html").wantPaid(t)
}

// Who pays beside a place in a longer purchase loses nothing of that.
func TestADeviceThatPaysKeepsItsPlace(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member("devices 2")})
	v, phone := w.visitor(), w.visitor()
	late := phone.open("/premium/article.html")
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	v.buyLonger("/premium/article.html").wantPaid(t)
	phone.openOnDevice(link(t, v.open(receiptPage), deviceLink)).wantPaid(t)
	back := phone.pay(phone.browse(late.location()), cardGood)
	w.delivered()
	phone.browse(back.location()).wantPaid(t)
	w.pass(31 * day)
	v.browse("/premium/article.html").wantPaid(t)
	phone.browse("/premium/article.html").wantPaid(t)
}
