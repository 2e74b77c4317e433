package checkout_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
)

const deviceRefused = "cannot be opened on this device"

// deviceLink is the address for another device, from the receipt.
func (v *visitor) deviceLink() string {
	v.s.t.Helper()
	address := link(v.s.t, v.open(receiptPage), "Link for the other device")
	if address == "" {
		v.s.t.Fatal("the receipt has no link for another device")
	}
	return address
}

// deviceLink is what the operator gives.
func (s *shop) deviceLink(site string, purchase ledger.Purchase) string {
	s.t.Helper()
	address, err := checkout.DeviceLink(&gate.Tokens{Keys: s.keys, Clock: s.now}, gate.NewSite(site), purchase, article, s.now().Add(day))
	if err != nil {
		s.t.Fatal(err)
	}
	return address
}

// openOnDevice opens a device link as a person does: by the button of its page.
func (v *visitor) openOnDevice(address string) reply {
	v.s.t.Helper()
	page := v.open(address)
	page.wantPage(http.StatusOK, "on this device?")
	if answer := v.submit(page, "Open on this device", navigation); answer.location() == "" {
		return answer
	}
	return v.browse(strings.TrimPrefix(address, origin))
}

func TestAnotherDevice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, id := s.buyer()
	address := link(t, v.open(article+"?x=1&axra_receipt"), "Link for the other device")
	phone, tablet := s.visitor(), s.visitor()
	for range 5 { // who only looks takes no place
		s.visitor().open(address).wantPage(http.StatusOK, "1 of 3")
	}
	stale := address + "&axra_device_id=" + s.formID()
	s.pass(11 * time.Minute)
	phone.do(http.MethodPost, stale, navigation).wantPage(http.StatusOK, "on this device?")
	phone.openOnDevice(address).wantPaid()
	phone.open(other).wantPaid()
	phone.open(address).wantRedirect(article + "?x=1") // which has it already
	tablet.openOnDevice(phone.deviceLink()).wantPaid() // any device may pass it on
	s.visitor().open(address).wantPage(http.StatusForbidden, "All devices of this purchase are in use")
	full := v.open(receiptPage)
	full.wantPage(http.StatusOK, "3 of 3")
	if link(t, full, "Link for the other device") != "" {
		t.Error("the receipt has a link that opens nothing")
	}
	s.wantCreated(1)

	s.refund(id)
	for _, device := range []*visitor{v, phone, tablet} {
		device.open(article).wantRefused(http.StatusPaymentRequired)
	}
	s.visitor().open(address).wantPage(http.StatusPaymentRequired, "This payment was refunded")
}

func TestAnExtensionCountsOnEveryDevice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, phone := s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	phone.openOnDevice(v.deviceLink()).wantPaid()
	v.buyLonger(article)
	phone.buyLonger(article)
	s.pass(29 * day)
	phone.open(article).wantPaid()
	v.open(article).wantPaid() // its token is renewed
	s.pass(20 * day)
	v.open(article).wantPaid()
	v.open(receiptPage).wantPage(http.StatusOK, "2 of 3")
	phone.wantOpenFor(41*day, article)
}

func TestS3AFormSentTwiceAddsOneDevice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(devices(2)))
	v, id := s.buyer()
	phone := s.visitor()
	address := v.deviceLink()
	form := phone.open(address)
	s.program().submit(form, "Open on this device", navigation).wantRedirect(article) // before the browser has an answer
	phone.submit(form, "Open on this device", navigation).wantRedirect(article)
	phone.open(article).wantPaid()
	var together sync.WaitGroup
	for range 8 {
		friend := s.visitor()
		together.Go(func() {
			friend.do(http.MethodPost, address+"&axra_device_id="+s.formID(), navigation).wantRefused(http.StatusForbidden)
		})
	}
	together.Wait()
	if added := len(s.bought(id).Devices); added != 2 {
		t.Errorf("%d devices", added)
	}
}

func TestT4T6WhatIsNoDeviceLinkOpensNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(), newGateConfig("/other/*", []product{sold("other", "1.00")}))
	v := s.visitor()
	id := v.start(article)
	pending := v.cookie(article, "axra_p_").Value
	v.browse(s.pay(id)).wantPaid()
	address, access := v.deviceLink(), v.cookie(article, "axra_t_")
	_, token, _ := strings.Cut(address, "axra_device=")
	outsider := s.visitor()
	outsider.open("/other/a.html?axra_device="+token).wantPage(http.StatusForbidden, deviceRefused)
	elsewhere := s.deviceLink("https://other.example", s.bought(id).Purchase)
	for name, forged := range map[string]string{
		"nothing": "", "garbage": "x", "the pending cookie": pending, "the access token": access.Value,
		"cut": token[:len(token)-1], "longer": token + "A", "12 KB": strings.Repeat("A", 12<<10), "a path": "../../x", "one byte changed": "A" + token[1:], "another site's": elsewhere[strings.LastIndex(elsewhere, "=")+1:],
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := outsider.do(method, article+"?axra_device_id="+s.formID()+"&axra_device="+forged, navigation)
			answer.wantRefused(http.StatusForbidden)
			if !strings.Contains(answer.body, deviceRefused) {
				t.Errorf("%s: %s", name, plain(answer))
			}
		}
	}
	for _, as := range []http.Header{{"Cookie": {access.Name + "=" + token}}, bearer(token)} {
		outsider.do(http.MethodGet, article, as).wantRefused(http.StatusPaymentRequired)
	}
	for _, from := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		outsider.do(http.MethodPost, address+"&axra_device_id="+s.formID(), from).wantRefused(http.StatusForbidden)
	}
	for _, device := range []string{"", "short", "ABCDEFGHIJKLMNOP/../x", strings.Repeat("A", 65)} {
		outsider.do(http.MethodPost, address+"&axra_device_id="+device, navigation).wantRefused(http.StatusForbidden)
	}
	if len(s.bought(id).Devices) != 1 {
		t.Error("a device was added")
	}
	s.pass(25 * time.Hour)
	outsider.open(address).wantPage(http.StatusForbidden, deviceRefused)
}

func TestC2APreviewOfADeviceLinkAddsNone(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, id := s.buyer()
	address := v.deviceLink()
	for _, client := range clients {
		s.visitor().do(http.MethodGet, address, client.header)
	}
	if len(s.bought(id).Devices) != 1 {
		t.Error("a preview has added a device")
	}
	s.wantCreated(1)
}

func TestDevicesThatWereSoldAreHonoured(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(devices(2)))
	v, phone := s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	s.configure(member(devices(1)))
	phone.openOnDevice(v.deviceLink()).wantPaid()
	s.configure(member(devices(9)))
	v.open(receiptPage).wantPage(http.StatusOK, "2 of 2")
}

func TestD2D3DevicesWhileTheLedgerFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, phone, late := s.visitor(), s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	address := v.deviceLink()
	form := late.open(address)
	phone.openOnDevice(address).wantPaid()
	s.breakLedger()
	s.restart(member())
	late.open(address).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	late.submit(form, "Open on this device", navigation).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	s.mendLedger()
	phone.open(article).wantPaid()
	late.openOnDevice(address).wantPaid()
}

func TestADeviceThatWasRemovedIsTold(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, id := s.buyer()
	phone := s.visitor()
	address := v.deviceLink()
	s.pass(time.Second)
	phone.openOnDevice(address).wantPaid()
	bought := s.bought(id)
	if err := s.ledger.RemoveDevice(t.Context(), bought.ID, bought.Devices[1].ID); err != nil {
		t.Fatal(err)
	}
	phone.open(article).wantPage(http.StatusForbidden, deviceRefused)
	v.open(article).wantPaid()
	phone.open(address).wantPage(http.StatusForbidden, deviceRefused)
	phone.openOnDevice(v.deviceLink()).wantPaid()
	gone := v.deviceLink()
	s.exec(loseEverything)
	s.visitor().open(gone).wantPage(http.StatusForbidden, deviceRefused)
}

func TestADeviceThatWasRemovedIsNotExtended(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, id := s.buyer()
	phone := s.visitor()
	s.pass(time.Second)
	phone.openOnDevice(v.deviceLink()).wantPaid()
	v.buyLonger(article)
	if err := s.ledger.RemoveDevice(t.Context(), s.bought(id).ID, s.bought(id).Devices[1].ID); err != nil {
		t.Fatal(err)
	}
	s.pass(31 * day)
	v.browse(article).wantPaid()
	phone.browse(article).wantCheckout()
}

// A checkout that was open before is no extension.
func TestAnOpenCheckoutIsNotTakenForAnExtension(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, phone := s.visitor(), s.visitor()
	v.buy(article).wantPaid()
	phone.start(article)
	phone.openOnDevice(v.deviceLink()).wantPaid()
	phone.buyLonger(article)
	v.wantOpenFor(60*day, article)
}

// Anyone who lures a paying visitor to a purchase of their own takes nothing away.
func TestADeviceLinkDoesNotReplaceAnotherPurchase(t *testing.T) {
	t.Parallel()
	s := newShop(t, member())
	v, friend := s.visitor(), s.visitor()
	theirs := friend.start(article)
	friend.browse(s.pay(theirs)).wantPaid()
	address := friend.deviceLink()
	v.buy(article).wantPaid()
	v.open(address).wantRefused(http.StatusSeeOther)
	v.do(http.MethodPost, address+"&axra_device_id="+s.formID(), navigation).wantRefused(http.StatusSeeOther)
	s.refund(theirs)
	v.open(article).wantPaid()
}
