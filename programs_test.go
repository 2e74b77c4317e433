package paywall_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// bearer is the header with the visitor's access token for a page.
func (v *visitor) bearer(target string) http.Header {
	return http.Header{"Authorization": {"Bearer " + v.cookieFor(target, "axra_t_")}}
}

func TestAnotherPassThanIsOnSaleIsNotSold(t *testing.T) {
	w := newWorld(t, worldOptions{})
	const target = "/premium/article.html?axra_checkout=none"
	if answer := w.visitor().do(http.MethodPost, target, nil, nil); answer.status != http.StatusPaymentRequired || !strings.Contains(answer.body, `"pass":"/premium/*"`) {
		t.Errorf("a program is answered %d %s", answer.status, answer.body)
	}
	w.visitor().open(target).wantPage(t, http.StatusPaymentRequired, "5.00 USD")
	if w.creations() != 0 {
		t.Errorf("%d sessions", w.creations())
	}
}

// D3 and its class: who has paid is not asked to pay because it cannot be told.
func TestD3AProgramIsNotAskedToPayForWhatCannotBeTold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	header := v.bearer("/premium/")
	w.breakLedger()
	w.pass(60e9)
	w.visitor().do(http.MethodGet, "/premium/article.html", header, nil).wantPaid(t) // for the time of grace
	w.pass(11 * 60e9)
	for _, accept := range []string{"", "application/json", "text/html"} {
		header.Set("Accept", accept)
		answer := w.visitor().do(http.MethodGet, "/premium/article.html", header, nil)
		if answer.status != http.StatusServiceUnavailable || answer.header.Get("Retry-After") == "" || strings.Contains(answer.body, "axra_checkout") {
			t.Errorf("%q: %d %s", accept, answer.status, answer.body)
		}
	}
}

func TestAProgramKeepsItsAccess(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member(), "access 30d", "access forever", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	header := v.bearer("/premium/")
	for range 3 {
		w.pass(399 * day)
		var status struct{ State, AccessToken string }
		decode(t, w.visitor().do(http.MethodGet, "/premium/article.html?axra_status=1", header, nil), &status)
		if status.State != "paid" {
			t.Fatalf("%+v", status)
		}
		header.Set("Authorization", "Bearer "+status.AccessToken)
		w.visitor().do(http.MethodGet, "/premium/article.html", header, nil).wantPaid(t)
	}
	if err := w.sandbox.Refund(w.lastPayment().ID); err != nil {
		t.Fatal(err)
	}
	w.delivered()
	var status struct{ State, AccessToken string }
	decode(t, w.visitor().do(http.MethodGet, "/premium/article.html?axra_status=1", header, nil), &status)
	if status.State != "refunded" || status.AccessToken != "" {
		t.Errorf("T7: after a refund %+v", status)
	}
}

func TestProgramsAreToldInProblemDetails(t *testing.T) {
	w := newShop(t)
	for target, want := range map[string]int{
		"/files/unpriced.txt": http.StatusInternalServerError, "/premium;x/article.html": http.StatusBadRequest,
		"/archive/": http.StatusPaymentRequired,
	} {
		answer := w.visitor().do(http.MethodGet, target, nil, nil)
		var problem struct{ Status int }
		if err := json.Unmarshal([]byte(answer.body), &problem); err != nil || problem.Status != want || answer.status != want {
			t.Errorf("%s: %d %v %s", target, answer.status, err, answer.body)
		}
	}
}

// T3: a token has an end of its own, also where access has none.
func TestT3ATokenEndsBeforeAccessWithoutEnd(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(member(), "access 30d", "access forever", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	header := v.bearer("/premium/")
	w.pass(399 * day)
	w.visitor().do(http.MethodGet, "/premium/article.html", header, nil).wantPaid(t) // and is remembered
	w.pass(2 * day)
	if answer := w.visitor().do(http.MethodGet, "/premium/article.html", header, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("after its end: %d", answer.status)
	}
}

// A program whose purchase was extended on another device is not asked to pay again.
func TestAProgramDoesNotPayForWhatWasExtendedElsewhere(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: member()})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	address := link(t, v.open(receiptPage), deviceLink)
	phone := w.visitor()
	phone.openOnDevice(address).wantPaid(t)
	asProgram := phone.bearer("/premium/article.html") // a program with this token
	v.buyLonger("/premium/article.html")
	w.pass(31 * day)
	program := w.visitor()
	program.do(http.MethodGet, "/premium/article.html", asProgram, nil)
	answer := program.do(http.MethodGet, "/premium/article.html?axra_status=1", asProgram, nil)
	if answer.status != http.StatusOK {
		t.Errorf("statusUrl answers %d", answer.status)
	}
	before := w.creations()
	answer = program.do(http.MethodPost, "/premium/article.html?axra_checkout=member", asProgram, nil)
	if w.creations() != before {
		t.Errorf("a program whose access goes on is sold another purchase: %d", answer.status)
	}
	phone.browse("/premium/article.html").wantPaid(t)
}
