package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// shop fills the site with pages.
func (r *rig) shop() {
	product := func(name string, access terms.Access, config gate.ProductConfig) *gate.Product {
		return &gate.Product{Name: name, Access: access, Config: config}
	}
	month := product("month", 30*terms.Access(day), gate.ProductConfig{Downloads: 3})
	year := product("year", terms.Forever, gate.ProductConfig{})
	page := product("page", terms.Forever, gate.ProductConfig{PerPath: true})
	item := product("item", terms.Forever, gate.ProductConfig{PerPath: true, Key: "{query.sku}"})
	r.pages = make(map[string]Page)
	add := func(site, path string, products ...*gate.Product) {
		added := Page{Site: site, Target: path, Resource: path, Products: make(map[string]*gate.Product)}
		for _, p := range products {
			added.Products[p.Name] = p
		}
		r.pages[site+path] = added
	}
	add(site, "/month", month)
	add(site, "/both", month, year)
	add(site, "/path", page)
	add(site, "/key", item)
	add("https://example.org", "/month", month)
}

func TestAccessIsGiven(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.shop()
	for name, test := range map[string]struct {
		request  GiveRequest
		pass     string
		resource string
		lasts    time.Duration // 0: forever
		devices  int
	}{
		"the only pass": {GiveRequest{URL: site + "/month", Devices: 1}, "month", "*", 30 * day, 1},
		"one of two":    {GiveRequest{URL: site + "/both", Pass: "year", Devices: 1}, "year", "*", 0, 1},
		"for a time":    {GiveRequest{URL: site + "/month", For: "2d", Devices: 1}, "month", "*", 2 * day, 2},
		"forever":       {GiveRequest{URL: site + "/month", For: "forever", Devices: 1}, "month", "*", 0, 1},
		"a path":        {GiveRequest{URL: site + "/path"}, "page", "/path", 0, 1},
		"a key":         {GiveRequest{URL: site + "/key", Key: "7", Devices: 1}, "item", gate.KeyResource("7"), 0, 1},
	} {
		test.request.Devices = test.devices
		link := call[Link](r, "give", test.request)
		given := r.show(link.Purchase)
		if given.Product != test.pass || given.Resource != test.resource || given.DeviceLimit != test.devices {
			t.Errorf("%s: %+v", name, given)
		}
		if given.EndsAt.IsZero() != (test.lasts == 0) || !given.EndsAt.IsZero() && !given.EndsAt.Equal(r.at.Add(test.lasts)) {
			t.Errorf("%s: ends %v, want after %s", name, given.EndsAt, test.lasts)
		}
		if link.Link != test.request.URL+"?purchase="+link.Purchase || !link.Expires.Equal(r.at.Add(7*day)) {
			t.Errorf("%s: %+v", name, link)
		}
		if payment := given.Payments[0]; payment.Source != ledger.FromOperator || payment.Paid != "" {
			t.Errorf("%s: it was paid: %+v", name, payment)
		}
	}
}

func TestWhatCannotBeGiven(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.shop()
	for _, test := range []struct {
		request GiveRequest
		phrase  string
	}{
		{GiveRequest{URL: site + "/free", Devices: 1}, "no gate covers"},
		{GiveRequest{URL: site + "/both", Devices: 1}, "that open that address: month, year"},
		{GiveRequest{URL: site + "/month", Pass: "year", Devices: 1}, "name one of the passes"},
		{GiveRequest{URL: site + "/month", Key: "7", Devices: 1}, "not sold by a key"},
		{GiveRequest{URL: site + "/key", Devices: 1}, "is sold by {query.sku}"},
		{GiveRequest{URL: site + "/month", For: "soon", Devices: 1}, "is not a length"},
		{GiveRequest{URL: site + "/month", For: "1ms", Devices: 1}, "is not a length"},
		{GiveRequest{URL: site + "/month", Devices: 0}, "on 1 to 1000 devices"},
		{GiveRequest{URL: site + "/month", Devices: gate.MaxDevices + 1}, "on 1 to 1000 devices"},
	} {
		r.refused("give", test.request, http.StatusBadRequest, test.phrase)
	}
	r.Keys = token.NewKeyring(r.Now)
	r.refused("give", GiveRequest{URL: site + "/month"}, http.StatusServiceUnavailable, "keys are not loaded")
	r.refused("link", LinkRequest{ID: "cs_1", For: linkLife}, http.StatusServiceUnavailable, "keys are not loaded")
	if ids := r.listed(ListRequest{}); len(ids) != 0 {
		t.Errorf("something was given all the same: %v", ids)
	}
}

func TestLinksAreMade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.shop()
	r.pay("cs_1")
	link := call[Link](r, "link", LinkRequest{ID: "cs_1", URL: site + "/month", For: "1h"})
	if !strings.Contains(link.Link, "/month?purchase=") || !link.Expires.Equal(r.at.Add(time.Hour)) {
		t.Errorf("%+v", link)
	}
	for _, test := range []struct {
		request LinkRequest
		status  int
		phrase  string
	}{
		{LinkRequest{ID: "cs_2", URL: site + "/month", For: linkLife}, http.StatusNotFound, "no such purchase"},
		{LinkRequest{ID: "cs_1", URL: site + "/free", For: linkLife}, http.StatusBadRequest, "no gate covers"},
		{LinkRequest{ID: "cs_1", URL: site + "/path", For: linkLife}, http.StatusBadRequest, "does not open"},
		{LinkRequest{ID: "cs_1", URL: "https://example.org/month", For: linkLife}, http.StatusBadRequest, "at " + site + ", does not open"},
		{LinkRequest{ID: "cs_1", URL: site + "/month", For: "1s"}, http.StatusBadRequest, "from a minute to ten years"},
	} {
		r.refused("link", test.request, test.status, test.phrase)
	}
	r.must(r.Ledger.AddDevice(t.Context(), ledger.PurchaseID("cs_1"), ledger.Device{ID: "d"}))
	r.refused("link", LinkRequest{ID: "cs_1", URL: site + "/month", For: linkLife}, http.StatusConflict, "all 1 devices of that purchase are in use")
	r.post("revoke", DecideRequest{ID: "cs_1"})
	r.refused("link", LinkRequest{ID: "cs_1", URL: site + "/month", For: linkLife}, http.StatusConflict, "it is revoked")
}
