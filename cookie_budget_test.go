package paywall_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What has ended takes no room.
func TestWhoBuysEveryDayMayGoOn(t *testing.T) {
	config := strings.Replace(keyed("{path.1}"), "per_path", "access 1d\n\t\tper_path", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	for i := range 28 {
		target := fmt.Sprintf("/premium/%d/x.html", i)
		w.write(strings.TrimPrefix(target, "/"), marker)
		answer := v.open(target)
		if answer.status != http.StatusSeeOther {
			t.Fatalf("day %d: %d", i, answer.status)
		}
		v.buy(target, cardGood).wantPaid(t)
		w.pass(25 * time.Hour)
	}
}

func TestWhoHasMuchMayExtend(t *testing.T) {
	config := strings.Replace(keyed("{path.1}"), "per_path", "access 30d\n\t\tper_path", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	v := w.visitor()
	for i := range 40 {
		target := fmt.Sprintf("/premium/%d/x.html", i)
		w.write(strings.TrimPrefix(target, "/"), marker)
		if v.open(target).status != http.StatusSeeOther {
			break
		}
		v.buy(target, cardGood).wantPaid(t)
	}
	receipt := v.open("/premium/0/x.html?axra_receipt")
	extend := link(t, receipt, "Extend access")
	if answer := v.open(extend); answer.status != http.StatusSeeOther {
		t.Errorf("%q: %d", extend, answer.status)
	}
}

// Another site cannot push out the checkout that is being paid.
func TestRestartsOfAnotherSitePushNothingOut(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: fiveLines})
	v := w.visitor()
	checkout := v.browse("/premium/article.html")
	header := navigation.Clone()
	header.Set("Sec-Fetch-Site", "cross-site")
	for range 29 {
		w.pass(time.Second)
		v.do(http.MethodGet, "/premium/article.html?axra_restart=1", header, nil)
	}
	back := v.pay(checkout, cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t)
	if w.creations() != 1 {
		t.Errorf("%d sessions", w.creations())
	}
}

// D2 and its class: a storage that stalls holds nobody up for long.
func TestD2AStalledStorageBesideManyCheckouts(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{path.1}")})
	v := w.visitor()
	for i := range 24 {
		v.open(fmt.Sprintf("/premium/%d/x.html", i)).wantCheckout(t, w)
	}
	w.breakLedger() // it cannot tell which of them may be forgotten
	v.open("/premium/new/x.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.mendLedger()
	v.open("/premium/new/x.html").wantCheckout(t, w)
}

// S7: of many tabs, the newest 20 can all be redeemed, and one that was paid already, however old.
func TestS7TheNewestCheckoutsOfManyTabsAreKept(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{path.1}")})
	v := w.visitor()
	page := func(i int) string { return fmt.Sprintf("/premium/%d/x.html", i) }
	paid := v.pay(v.browse(page(0)), cardGood)
	w.delivered()
	checkouts := make([]string, 26)
	for i := range checkouts {
		w.write(strings.TrimPrefix(page(i), "/"), marker)
		if i > 0 {
			checkouts[i] = v.open(page(i)).location()
		}
	}
	for _, i := range []int{25, 16, 8} {
		back := v.pay(v.browse(checkouts[i]), cardGood)
		w.delivered()
		v.browse(back.location()).wantPaid(t)
	}
	v.browse(paid.location()).wantPaid(t)
	v.open(page(1)).wantCheckout(t, w) // it was forgotten, and can be bought all the same
}

func TestNoRoomIsSaidBeforeAnythingIsCharged(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: keyed("{path.1}")})
	header := navigation.Clone()
	cookies := make([]string, 0, 26)
	for i := range cap(cookies) {
		cookies = append(cookies, fmt.Sprintf("axra_t_%08x=%s", i, strings.Repeat("x", 400)))
	}
	header.Set("Cookie", strings.Join(cookies, "; "))
	w.visitor().do(http.MethodGet, "/premium/a/x.html", header, nil).wantPage(t, http.StatusPaymentRequired, "No room for another purchase")
	if w.creations() != 0 {
		t.Errorf("%d sessions", w.creations())
	}
	header.Set("Cookie", strings.Join(cookies[:10], "; "))
	w.visitor().do(http.MethodGet, "/premium/a/x.html", header, nil).wantCheckout(t, w)
	// A program keeps no cookie.
	program := http.Header{"Cookie": {strings.Join(cookies, "; ")}}
	if answer := w.visitor().do(http.MethodPost, "/premium/a/x.html?axra_checkout=p", program, nil); answer.status != http.StatusCreated {
		t.Errorf("a program: %d", answer.status)
	}
}
