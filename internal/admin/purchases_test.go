package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
)

const day = 24 * time.Hour

func TestAPurchaseIsFoundAndShown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.pay("cs_1")
	for _, name := range []string{id, id[:10], strings.ToUpper(id), "cs_1", "pay_cs_1"} {
		found := r.show(name)
		if found.ID != id || found.Reference != id[:10] || found.Status != ledger.Active || !found.EndsAt.Equal(r.at.Add(30*day)) {
			t.Errorf("%s is %+v", name, found)
		}
		if payment := found.Payments[0]; payment.SessionID != "cs_1" || payment.Paid != "5.00 USD" || payment.Asked != "" {
			t.Errorf("%s was paid by %+v", name, payment)
		}
	}
	for _, name := range []string{"", "cs_2", "zz"} {
		r.refused("show", PurchaseRequest{ID: name}, http.StatusNotFound, "no such purchase")
	}
	r.at = r.at.Add(31 * day)
	if found := r.show(id); found.Status != ledger.Expired {
		t.Errorf("after its time it is %s", found.Status)
	}
}

func TestAnAmbiguousNameListsThePurchases(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	byDigit := make(map[string]int)
	for i := range 40 {
		byDigit[r.pay(fmt.Sprint("cs_", i))[:1]]++
	}
	for digit, count := range byDigit {
		if count == 1 {
			continue
		}
		w := r.post("revoke", DecideRequest{ID: digit})
		if named := strings.Count(w.Body.String(), ", ") + 1; w.Code != http.StatusConflict || named != min(count, 10) {
			t.Errorf("%s: %d %s", digit, w.Code, w.Body)
		}
	}
}

func TestPayments(t *testing.T) {
	t.Parallel()
	five, three := price(t, "5.00", "usd"), price(t, "3.00", "eur")
	for name, test := range map[string]struct {
		payment     ledger.Payment
		paid, asked string
	}{
		"as asked":           {ledger.Payment{Source: ledger.FromAxra, Paid: five}, "5.00 USD", ""},
		"too little":         {ledger.Payment{Source: ledger.FromAxra, Paid: three, Mismatch: true, Terms: terms.Terms{Price: five}}, "3.00 EUR", "5.00 USD"},
		"no readable amount": {ledger.Payment{Source: ledger.FromAxra, PaidRaw: "many", Mismatch: true}, "many", ""},
		"given":              {ledger.Payment{Source: ledger.FromOperator, Paid: five}, "", ""},
	} {
		if got := describe(ledger.Details{Payments: []ledger.Payment{test.payment}}, time.Time{}).Payments[0]; got.Paid != test.paid || got.Asked != test.asked {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// listed returns the references of a list.
func (r *rig) listed(request ListRequest) (references []string) {
	r.t.Helper()
	request.Limit = cmp.Or(request.Limit, 50)
	w := r.post("list", request)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"session"`) {
		r.t.Fatalf("%+v: %d %s", request, w.Code, w.Body)
	}
	var list []Listed
	r.must(json.Unmarshal(w.Body.Bytes(), &list))
	for _, each := range list {
		references = append(references, each.Reference)
	}
	return references
}

func TestPurchasesAreListed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := ledger.Reference(r.pay("a"))
	r.at = r.at.Add(day)
	second := ledger.Reference(r.pay("b"))
	r.post("revoke", DecideRequest{ID: first})
	for name, test := range map[string]struct {
		request ListRequest
		want    []string
	}{
		"all, the newest first": {ListRequest{}, []string{second, first}},
		"by status":             {ListRequest{Status: "revoked"}, []string{first}},
		"by site":               {ListRequest{Site: site}, []string{second, first}},
		"another site":          {ListRequest{Site: "https://example.org"}, nil},
		"another pass":          {ListRequest{Pass: "year"}, nil},
		"from a day":            {ListRequest{From: "2026-12-01"}, []string{second}},
		"to a month":            {ListRequest{To: "2026-12"}, []string{first}},
		"search":                {ListRequest{Search: " " + first}, []string{first}},
		"a limit":               {ListRequest{Limit: 1}, []string{second}},
	} {
		if ids := r.listed(test.request); strings.Join(ids, " ") != strings.Join(test.want, " ") {
			t.Errorf("%s: %v, want %v", name, ids, test.want)
		}
	}
	for phrase, request := range map[string]ListRequest{
		"write one of [active expired":    {Status: "open"},
		"is no site":                      {Site: "example.com"},
		"is no site: write its address":   {Site: site + "/"},
		"the limit is a number":           {Limit: -1},
		"from 1 to 10000":                 {Limit: 10001},
		"is no time":                      {From: "yesterday"},
		"the first must be the earlier":   {From: "2026-12", To: "2026-11"},
		"the first must be the earlier o": {From: "2026-12", To: "2026-12"},
	} {
		r.refused("list", request, http.StatusBadRequest, phrase)
	}
}

func TestAPurchaseIsRevokedAndRestored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.pay("cs_1")
	if revoked := call[Purchase](r, "revoke", DecideRequest{ID: id, Note: "shared"}); revoked.Status != ledger.Revoked {
		t.Errorf("it is %s", revoked.Status)
	}
	if found := r.show(id); len(found.Decisions) != 1 || found.Decisions[0].Note != "shared" {
		t.Errorf("decisions are %+v", found.Decisions)
	}
	if restored := call[Purchase](r, "restore", DecideRequest{ID: id}); restored.Status != ledger.Active {
		t.Errorf("it is %s", restored.Status)
	}
	_, err := r.Ledger.RecordEvent(t.Context(), ledger.Event{Kind: ledger.EventRefunded, SessionID: "cs_1", OccurredAt: r.at})
	r.must(err)
	r.refused("restore", DecideRequest{ID: id}, http.StatusConflict, "stays refunded")
	r.refused("revoke", DecideRequest{ID: "cs_2"}, http.StatusNotFound, "no such purchase")
}

func TestADeviceIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := r.pay("cs_1")
	r.must(r.Ledger.AddDevice(t.Context(), id, ledger.Device{ID: "d"}))
	r.refused("remove-device", RemoveDeviceRequest{ID: id, Device: "other"}, http.StatusNotFound, "no device was removed")
	left := call[Purchase](r, "remove-device", RemoveDeviceRequest{ID: id, Device: "d"})
	if len(left.Devices) != 1 || left.Devices[0].RemovedAt.IsZero() {
		t.Errorf("devices are %+v", left.Devices)
	}
}
