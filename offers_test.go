package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/ledger"
)

// shop has passes that several gates share, and paths that are sold one by one.
const shop = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
		pass day {
			price       2.00 usd
			access      1d
			description "Day pass"
		}
		pass month {
			price  9.00 usd
			access 30d
		}
		pass old {
			price 1.00 usd
			retired
		}
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	map {path} {file_price} {
		/files/a.txt 3.00
		/files/b.txt 4.50
		/files/free.txt 0
		/files/text.txt five
	}
	@dev axra_paid
	@month axra_paid month
	@either axra_paid day old
	axra_paywall /premium/* {
		passes day month old
		request_headers
	}
	axra_paywall /archive/* {
		passes month
	}
	axra_paywall /files/* {
		pass files
		price {file_price} eur
		per_path
		passes month
	}
	respond /free/headers "FREE {header.X-Axra-User}{header.X_Axra_User} {http.axra.paid}{http.axra.purchase}"
	route /who {
		respond @month month
		respond @either day
		respond @dev other
		respond nobody
	}
	respond /premium/headers "MARK {header.X-Axra-Paid}|{header.X-Axra-Pass}|{header.X_Axra_User}{http.request.header.x.axra.user}|{header.X-Axra-User}|{http.auth.user.id}"
	root ROOT
	file_server
}
`

func newShop(t *testing.T) *sitetest.World {
	t.Helper()
	w := newWorld(t, sitetest.Options{Caddyfile: shop})
	w.Write("archive/index.html", sitetest.Marker+" archive")
	for _, name := range []string{"a", "b", "free", "text", "unpriced"} {
		w.Write("files/"+name+".txt", sitetest.Marker+" file "+name)
	}
	return w
}

func TestOneOfSeveralPassesOpensEveryGateThatListsIt(t *testing.T) {
	w := newShop(t)
	v := w.Visitor()
	offer := v.Open(article)
	offer.WantPage(t, http.StatusPaymentRequired, "Day pass")
	if !strings.Contains(offer.Body, "9.00 USD") || !strings.Contains(offer.Body, "30 days") || strings.Contains(offer.Body, "1.00 USD") {
		t.Errorf("the offer page says\n%s", offer.Body)
	}
	for _, unknown := range []string{"old", "none", "", "files"} {
		v.Open("/premium/article.html?axra_checkout="+unknown).WantPage(t, http.StatusPaymentRequired, "Day pass")
	}
	if w.Creations() != 0 {
		t.Error("looking at the offer has created a session")
	}
	first := v.Open("/premium/article.html?axra_checkout=day")
	first.WantCheckout(t, w)
	if second := v.Open("/premium/article.html?axra_checkout=day"); second.Location() != first.Location() {
		t.Error("two sessions for one choice")
	}
	back := v.Pay(v.Browse(v.Submit(offer, "Buy month", nil).Location()))
	w.Delivered()
	v.Browse(back.Location()).WantPaid(t)
	for _, target := range []string{"/premium/other.html", "/archive/", "/files/a.txt", "/files/unpriced.txt"} {
		v.Open(target).WantPaid(t)
	}
	if who := v.Open("/who").Body; who != "month" {
		t.Errorf("axra_paid says %q", who)
	}
	other := w.Visitor()
	other.BuyPass(article, "day").WantPaid(t)
	other.Open("/archive/").WantCheckout(t, w)
	other.BuyPass(article, "month").WantPaid(t)
	other.Open("/archive/").WantPaid(t)
	for _, pass := range []string{"day", "month"} {
		if answer := other.Open("/premium/article.html?axra_checkout=" + pass); answer.Location() != article {
			t.Errorf("asked to pay for what is paid: %d %s", answer.Status, answer.Location())
		}
	}
	w.Pass(31 * day)
	other.Open(article).WantPage(t, http.StatusPaymentRequired, "Day pass")
	if who := other.Open("/who").Body; who != "nobody" {
		t.Errorf("after the end axra_paid says %q", who)
	}
}

// K2 and T4: what was sold, or was being paid during a reload, is honoured however it is sold later. A file that is
// sold by itself opens alone.
func TestK2T4WhatWasSoldIsHonoured(t *testing.T) {
	w := newShop(t)
	day, file, month, midway := w.Visitor(), w.Visitor(), w.Visitor(), w.Visitor()
	checkout := midway.Browse("/premium/article.html?axra_checkout=month")
	w.Load(strings.Replace(shop, "price  9.00 usd\n\t\t\taccess 30d", "price  99.00 usd\n\t\t\taccess 1h", 1))
	back := midway.Pay(checkout)
	w.Delivered()
	midway.Browse(back.Location()).WantPaid(t)
	w.Pass(29 * 24 * time.Hour)
	midway.Open(article).WantPaid(t)
	w.Pass(48 * time.Hour)
	midway.Open("/archive/").WantCheckout(t, w)
	w.Load(shop)
	day.BuyPass(article, "day").WantPaid(t)
	file.BuyPass("/files/a.txt", "files").WantPaid(t)
	month.BuyPass(article, "month").WantPaid(t)
	for name, config := range map[string]string{
		"as it was":         shop,
		"dearer":            strings.ReplaceAll(shop, "2.00 usd", "99.00 usd"),
		"retired":           strings.Replace(shop, "price       2.00 usd", "retired", 1),
		"route renamed":     strings.Replace(shop, "axra_paywall /premium/*", "axra_paywall /pre*", 1),
		"no longer by path": strings.Replace(shop, "price {file_price} eur\n\t\tper_path", "price 20 eur", 1),
		"now by path":       strings.Replace(shop, "price  9.00 usd", "price  9.00 usd\n\t\t\tper_path", 1),
	} {
		t.Run(name, func(t *testing.T) {
			w.Load(config)
			day.Open(article).WantPaid(t)
			file.Open("/files/a.txt").WantPaid(t)
			month.Open("/premium/other.html").WantPaid(t)
			token := file.Bearer("/files/a.txt")
			for _, other := range []string{"/files/b.txt", "/files/b.txt;/../a.txt", "/files/x/../a.txt", "/files/a.txt%00/../b.txt", "/files/", "/archive/"} {
				if answer := file.Do(http.MethodGet, other, token, nil); strings.Contains(answer.Body, sitetest.Marker) {
					t.Errorf("one file's payment opens %s", other)
				}
			}
		})
	}
}

// G12: what a client claims to be is replaced by what is so, in the headers and placeholders of each gate.
func TestG12TheApplicationLearnsWhoHasPaid(t *testing.T) {
	config := strings.Replace(shop, "axra_paywall /archive/* {", "axra_paywall /archive/* {\n\t\trequest_headers X-Other-", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(config, "{header.X-Axra-Paid}|", "{header.X-Other-User}{header.X-Axra-Paid}|{http.axra.purchase}|", 1)})
	v := w.Visitor()
	forged := sitetest.Navigation.Clone()
	for _, name := range []string{"X-Axra-Paid", "X-Axra-Pass", "X_Axra_User", "X-Axra-User", "x.axra.user", "X-axra_Session", "X-Other-User"} {
		forged[name] = []string{"forged"}
	}
	if answer := v.Do(http.MethodGet, "/free/headers", forged, nil); answer.Body != "FREE  false" {
		t.Errorf("on a free page the application sees %q", answer.Body)
	}
	v.BuyPass(article, "day").WantPaid(t)
	answer := v.Do(http.MethodGet, "/premium/headers", forged, nil)
	purchase := ledger.PurchaseID(w.LastPayment().SessionID)
	if !strings.HasPrefix(answer.Body, "MARK true|"+purchase+"|day||axra-") || strings.Contains(answer.Body, "forged") {
		t.Errorf("the application sees %q", answer.Body)
	}
	parts := strings.Split(answer.Body, "|")
	if parts[len(parts)-1] != parts[len(parts)-2] {
		t.Errorf("http.auth.user.id differs from the header: %q", answer.Body)
	}
}
