package contract

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/exampletest"
)

// TestEveryAnswerThatIsDescribed meets each of them once; which there are is read
// from the description.
func TestEveryAnswerThatIsDescribed(t *testing.T) {
	p := newProgram(t)
	const sheet, ask = "/sheets/january.txt", "/sheets/january.txt?axra_status=1"
	const guide = "/downloads/field-guide.txt"
	bearer, c := p.buy(sheet)
	forGood, _ := p.buy(guide)
	unpaid := p.start(guide + "?axra_checkout")
	withToken := func(headers ...string) []string { return append([]string{"Authorization", bearer}, headers...) }
	for _, test := range []struct {
		name, method, target string
		headers              []string
		before               func()
		want                 int
	}{
		{name: "the resource", target: sheet, headers: withToken(), want: 200},
		{name: "a range", target: sheet, headers: withToken("Range", "bytes=3-"), want: 206},
		{name: "no such range", target: sheet, headers: withToken("Range", "bytes=99999-"), want: 416},
		{name: "known already", target: sheet, headers: withToken("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT"), want: 304},
		{name: "no token", target: sheet, want: 402},
		{name: "no valid token", target: sheet, headers: []string{"Authorization", "Bearer x"}, want: 402},
		{name: "the token of another resource", target: "/sheets/february.txt", headers: withToken(), want: 402},
		{name: "the same download again", target: sheet, headers: withToken(), before: func() { p.fetchOften(sheet, bearer) }, want: 200},
		{name: "no price", target: "/sheets/march.txt", want: 500},
		{name: "an ambiguous address", target: sheet, headers: []string{"X-Original-Url", "/other"}, want: 400},
		{name: "the status", target: ask, headers: []string{"Authorization", "Bearer " + c.StatusToken}, want: 200},
		{name: "the status without a token", target: ask, want: 401},
		{name: "the status with no valid token", target: ask, headers: []string{"Authorization", "Bearer x"}, want: 401},
		{name: "the status with an access token", target: ask, headers: withToken(), want: 200},
		{name: "the status with an access token of something else", target: ask, headers: []string{"Authorization", forGood}, want: 401},
		{
			name: "the status of another resource", target: "/sheets/february.txt?axra_status=1",
			headers: []string{"Authorization", "Bearer " + c.StatusToken}, want: 401,
		},

		{name: "a checkout", method: http.MethodPost, target: sheet + "?axra_checkout", want: 201},
		{name: "a form", method: http.MethodPost, target: sheet + "?axra_checkout", headers: []string{"Accept", "text/html"}, want: 303},
		{name: "an ambiguous address", method: http.MethodPost, target: sheet + "?axra_checkout", headers: []string{"X-Original-Url", "/other"}, want: 400},
		{name: "nothing chosen", method: http.MethodPost, target: "/archive/?axra_checkout", want: 402},
		{name: "no such pass", method: http.MethodPost, target: "/archive/?axra_checkout=none", want: 402},
		{name: "no such pass where one is on sale", method: http.MethodPost, target: sheet + "?axra_checkout=none", want: 402},
		{
			name: "what has no end already", method: http.MethodPost, target: guide + "?axra_checkout",
			headers: []string{"Authorization", forGood}, want: 409,
		},
		{name: "another site", method: http.MethodPost, target: sheet + "?axra_checkout", headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "too long", method: http.MethodPost, target: sheet + "?axra_checkout&x=" + strings.Repeat("x", 2048), want: 414},
		{name: "no price", method: http.MethodPost, target: "/sheets/march.txt?axra_checkout", want: 500},
		{
			name: "no answer of Axra", method: http.MethodPost, target: sheet + "?axra_checkout", want: 503,
			before: func() { p.Control("faults", `{"kind":"429","times":1}`) },
		},
		{name: "too many", method: http.MethodPost, target: sheet + "?axra_checkout", before: p.startManyCheckouts, want: 429},
		{
			name: "the status of a device that was removed", target: ask, headers: []string{"Authorization", "Bearer " + c.StatusToken}, want: 403,
			before: func() { p.removeDevice(c) },
		},
		{
			name: "records that cannot be read", target: guide + "?axra_status=1", headers: []string{"Authorization", "Bearer " + unpaid.StatusToken}, want: 503,
			before: func() {
				p.BreakLedger()
				exampletest.Eventually(t, "the ledger is missed", func() bool {
					return p.get(guide+"?axra_status=1", "Authorization", "Bearer "+unpaid.StatusToken).status == http.StatusServiceUnavailable
				})
			},
		},
	} {
		if test.before != nil {
			test.before()
		}
		if test.method == "" {
			test.method = http.MethodGet
		}
		if got := p.do(test.method, test.target, test.headers...); got.status != test.want {
			t.Errorf("%s, %s: want %d, got %d\n%.500s", test.method, test.name, test.want, got.status, got.body)
		}
	}
	for method, operation := range readDescription(t).Paths.Value(anyPath).Operations() {
		for status := range operation.Responses.Map() {
			if !p.seen[method+" "+status] {
				t.Errorf("%s: %s is described, and never came", method, status)
			}
		}
	}
}

// fetchOften fetches a file more often than it may be downloaded: all of it is one download.
func (p *program) fetchOften(path, bearer string) {
	p.t.Helper()
	for range 5 {
		p.want(p.get(path, "Authorization", bearer), http.StatusOK)
		p.want(p.get(path, "Authorization", bearer, "Range", "bytes=10-"), http.StatusPartialContent)
	}
}

// removeDevice removes the one device of a purchase.
func (p *program) removeDevice(c checkout) {
	p.t.Helper()
	var bought struct{ Devices []struct{ ID string } }
	if err := json.Unmarshal(p.Operate("show", `{"purchase":"`+c.Session+`"}`), &bought); err != nil || len(bought.Devices) != 1 {
		p.t.Fatal(bought, err)
	}
	p.Operate("remove-device", `{"purchase":"`+c.Session+`","device":"`+bought.Devices[0].ID+`"}`)
}

// startManyCheckouts goes to the limit of one client.
func (p *program) startManyCheckouts() {
	p.t.Helper()
	for range 100 {
		if p.do(http.MethodPost, "/premium/?axra_checkout").status == http.StatusTooManyRequests {
			return
		}
	}
	p.t.Error("checkouts are not limited")
}
