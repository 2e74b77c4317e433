package paywall_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/sandbox"
)

// All that Axra's create call takes can be said, with an access token that is exchanged once.
func TestCreateCallSaysAll(t *testing.T) {
	config := strings.Replace(sitetest.FiveLines, "webhook_secret {env.AXRA_WEBHOOK_SECRET}", "api_secret {env.AXRA_API_SECRET}", 1)
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(config, "access 30d", `access 30d
		description "Article {path}"
		expires_in 20m
		customer_email {query.email}
		metadata article {path}
		cancel_url /sorry?from={path}
		pass premium`, 1)})
	w.Visitor().Open("/premium/article.html?email=reader@example.com").WantCheckout(t, w)
	calls := w.Sandbox.Calls()
	var got map[string]any
	mustDo(t, json.Unmarshal(calls[len(calls)-1].Body, &got))
	metadata, _ := got["metadata"].(map[string]any)
	for name, want := range map[string]any{
		"amount": 5.0, "currency": "usd", "description": "Article /premium/article.html", "expiresIn": 1200.0,
		"customerEmail": "reader@example.com", "cancelUrl": w.Site + "/sorry?from=/premium/article.html",
		"successUrl": w.Site + "/premium/article.html?email=reader@example.com&axra_query=ZW1haWw9cmVhZGVyQGV4YW1wbGUuY29t&axra_session={SESSION_ID}",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if metadata["article"] != article || metadata["paywall_pass"] != "premium" {
		t.Errorf("metadata %v", metadata)
	}
	w.Visitor().Buy(article).WantPaid(t) // the webhook secret is the API secret
	if n := w.Sandbox.CallCount(sandbox.RouteToken); n != 1 {
		t.Errorf("%d exchanges for two sessions", n)
	}
	w.Pass(time.Hour)
	w.Visitor().Open(article).WantCheckout(t, w)
	if n := w.Sandbox.CallCount(sandbox.RouteToken); n != 2 {
		t.Errorf("%d exchanges after an hour, want 2", n)
	}
}

// P10 and its neighbours, of which session has the whole lists: strangers are told to come back, who has paid notices
// nothing.
func TestP2P3P6P7P10AxraInTrouble(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	paid := w.Visitor()
	paid.Buy(article).WantPaid(t)
	for threat, kind := range map[string]sandbox.FaultKind{
		"P2": sandbox.FaultUnauthorized, "P3": sandbox.FaultTooMany, "P6": sandbox.FaultRedirect, "P7": sandbox.FaultWrongHost,
	} {
		t.Run(threat+" "+string(kind), func(t *testing.T) {
			mustDo(t, w.Sandbox.SetFault(sandbox.Fault{Kind: kind}))
			answer := w.Visitor().Open(article)
			answer.WantPage(t, http.StatusServiceUnavailable, "Payment is not available right now")
			if answer.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			paid.Open(article).WantPaid(t)
			if n := w.Sandbox.CallCount(sandbox.RouteUnknown); n != 0 {
				t.Errorf("P6: %d calls to where a redirect led", n)
			}
			mustDo(t, w.Sandbox.SetFault(sandbox.Fault{}))
			w.Pass(5 * time.Minute)
			w.Visitor().Open(article).WantCheckout(t, w)
		})
	}
}
