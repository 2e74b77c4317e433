package sandbox

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestCreateSession(t *testing.T) {
	r := newRig(t, nil)
	resp := r.api("POST", "/business/payment/session", anOrder)
	if resp.StatusCode != 201 {
		t.Fatalf("status %d: %s", resp.StatusCode, resp.body)
	}
	if !strings.Contains(string(resp.body), `"amount":5.00`) {
		t.Errorf("the amount is not what was asked: %s", resp.body)
	}
	got := decode(t, resp.body)
	if got["success"] != true {
		t.Errorf("no envelope: %s", resp.body)
	}
	data := got["data"].(map[string]any)
	u, err := url.Parse(data["checkoutUrl"].(string))
	if err != nil || "http://"+u.Host != r.srv.URL || u.Path != "/checkout/"+data["sessionId"].(string) || u.Query().Get("token") == "" {
		t.Errorf("checkoutUrl %v", data["checkoutUrl"])
	}
	if data["expiresAt"] != "2031-05-17T12:30:00.000Z" || data["currency"] != "usd" {
		t.Errorf("answer %v", data)
	}
}

func TestBareResponses(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.BareResponses = true
		c.BaseURL = "http://pay.test:99/"
	})
	got := decode(t, r.api("POST", "/business/payment/session", anOrder).body)
	if url, _ := got["checkoutUrl"].(string); !strings.HasPrefix(url, "http://pay.test:99/checkout/cs_") {
		t.Errorf("answer %v", got)
	}
}

func TestCreateSessionValidates(t *testing.T) {
	r := newRig(t, nil)
	base := map[string]string{"amount": `5`, "currency": `"usd"`, "successUrl": `"https://shop.example/"`}
	for _, tc := range []struct {
		field, value string
		ok           bool
	}{
		{"amount", "", false}, {"amount", `"5"`, false}, {"amount", "0.49", false}, {"amount", "0.499999", false}, {"amount", "-5", false},
		{"amount", "1e99", false}, {"amount", "1e999999999", false}, {"amount", "null", false}, {"amount", "true", false},
		{"amount", "0.5", true}, {"amount", "0.50", true}, {"amount", "5e1", true},
		{"currency", "", false}, {"currency", `"USD"`, false}, {"currency", `"us"`, false}, {"currency", `"zzz"`, false}, {"currency", `" us"`, false}, {"currency", "7", false},
		{"currency", `"eur"`, true}, {"currency", `"ngn"`, true},
		{"successUrl", "", false}, {"successUrl", `"/paid"`, false}, {"successUrl", `"ftp://x/"`, false}, {"successUrl", `"javascript:alert(1)"`, false},
		{"successUrl", `"https://"`, false}, {"successUrl", `"https://x/\r\nSet-Cookie: a=b"`, false},
		{"cancelUrl", `"nope"`, false}, {"cancelUrl", `"http://localhost/c"`, true}, {"cancelUrl", "null", true},
		{"expiresIn", "299", false}, {"expiresIn", "300", true}, {"expiresIn", `"300"`, false}, {"expiresIn", "300.5", false}, {"expiresIn", "-300", false}, {"expiresIn", "9999999999", false},
		{"metadata", `[]`, false}, {"metadata", `"x"`, false}, {"metadata", `{}`, true}, {"metadata", "null", true},
		{"customerEmail", `"nobody"`, false}, {"customerEmail", `"Ann <ann@example.com>"`, false}, {"customerEmail", `"ann@example.com"`, true},
		{"description", "5", false}, {"description", `"text"`, true},
		{"unknown", "1", true},
	} {
		t.Run(tc.field+"="+tc.value, func(t *testing.T) {
			var members []string
			for name, value := range base {
				if name != tc.field {
					members = append(members, `"`+name+`":`+value)
				}
			}
			if tc.value != "" {
				members = append(members, `"`+tc.field+`":`+tc.value)
			}
			resp := r.api("POST", "/business/payment/session", "{"+strings.Join(members, ",")+"}")
			if tc.ok {
				if resp.StatusCode != 201 {
					t.Errorf("refused: %d %s", resp.StatusCode, resp.body)
				}
				return
			}
			if resp.StatusCode != 400 {
				t.Fatalf("status %d: %s", resp.StatusCode, resp.body)
			}
			if got := decode(t, resp.body)["error"].(map[string]any)["field"]; got != tc.field {
				t.Errorf("field %v named", got)
			}
		})
	}
}

func TestBodiesThatAreNoObject(t *testing.T) {
	r := newRig(t, nil)
	for _, body := range []string{"", "[]", "null", `{"amount":5`, `{} {}`, "\xff"} {
		if resp := r.api("POST", "/business/payment/session", body); resp.StatusCode != 400 {
			t.Errorf("%q: %d", body, resp.StatusCode)
		}
	}
	if resp := r.api("POST", "/business/payment/session", strings.Repeat(" ", maxAPIBody+1)); resp.StatusCode != 413 {
		t.Errorf("too long: %d", resp.StatusCode)
	}
}

func TestUnknownEndpoints(t *testing.T) {
	r := newRig(t, nil)
	for _, target := range []string{"GET /business/payment/session", "POST /business/payment/sessions", "POST /", "DELETE /business/config"} {
		method, path, _ := strings.Cut(target, " ")
		if resp := r.api(method, path, "{}"); resp.StatusCode != 404 {
			t.Errorf("%s: %d", target, resp.StatusCode)
		}
	}
	if n := r.CallCount(RouteUnknown); n != 4 {
		t.Errorf("%d unknown calls counted", n)
	}
}

func TestAuthentication(t *testing.T) {
	r := newRig(t, nil)
	tokens := r.post(APIPrefix+"/business/auth/token", `{"apiKey":"`+DefaultAPIKey+`","apiSecret":"`+DefaultAPISecret+`"}`)
	if tokens.StatusCode != 200 {
		t.Fatalf("token: %d %s", tokens.StatusCode, tokens.body)
	}
	data := decode(t, tokens.body)["data"].(map[string]any)
	if data["tokenType"] != "Bearer" || data["expiresIn"].(interface{ String() string }).String() != "3600" || data["businessId"] == "" || data["businessName"] == "" {
		t.Errorf("token answer %v", data)
	}
	token := data["accessToken"].(string)

	call := func(name, value string) int {
		t.Helper()
		req := r.request("POST", APIPrefix+"/business/payment/session", anOrder)
		if name != "" {
			req.Header.Set(name, value)
		}
		return r.send(req).StatusCode
	}
	for _, tc := range []struct {
		name, header, value string
		want                int
	}{
		{"key", "x-api-key", DefaultAPIKey, 201},
		{"wrong key", "x-api-key", DefaultAPIKey + "x", 401},
		{"nothing", "", "", 401},
		{"token", "Authorization", "Bearer " + token, 201},
		{"token, lower case", "Authorization", "bearer " + token, 201},
		{"token changed", "Authorization", "Bearer " + token + "0", 401},
		{"token with a longer life", "Authorization", "Bearer " + strings.Replace(token, "bat_1", "bat_9", 1), 401},
		{"key as token", "Authorization", "Bearer " + DefaultAPIKey, 401},
		{"basic", "Authorization", "Basic " + token, 401},
		{"empty token", "Authorization", "Bearer ", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := call(tc.header, tc.value); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
		})
	}
	r.clock.advance(tokenLifetime - time.Second)
	if got := call("Authorization", "Bearer "+token); got != 201 {
		t.Errorf("just before the hour: %d", got)
	}
	r.clock.advance(time.Second)
	if got := call("Authorization", "Bearer "+token); got != 401 {
		t.Errorf("after the hour: %d", got)
	}
}

func TestTokenRefusals(t *testing.T) {
	r := newRig(t, nil)
	for body, want := range map[string]int{
		`{"apiKey":"bk_test_sandbox"}`:                      400,
		`{"apiSecret":"bs_test_sandbox"}`:                   400,
		`{"apiKey":"bk_test_sandbox","apiSecret":"x"}`:      401,
		`{"apiKey":"x","apiSecret":"bs_test_sandbox"}`:      401,
		`{"apiKey":"bk_test_sandbox","apiSecret":["x"]}`:    400,
		`["bk_test_sandbox"]`:                               400,
		`{"apiKey":"","apiSecret":""}`:                      401,
		`{"apiKey":"bk_test_sandbox","apiSecret":null}`:     400,
		`{"apiKey":"BK_TEST_SANDBOX","apiSecret":"BS_..."}`: 401,
	} {
		if resp := r.post(APIPrefix+"/business/auth/token", body); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", body, resp.StatusCode, want)
		}
	}
	for _, call := range r.Calls() {
		if call.Body != nil {
			t.Errorf("the call log keeps credentials: %s", call.Body)
		}
	}
}

func TestWebhookURLByAPI(t *testing.T) {
	r := newRig(t, func(c *Config) { c.WebhookURL = "" })
	if resp := r.api("PUT", "/business/config", `{"webhookUrl":"nowhere"}`); resp.StatusCode != 400 {
		t.Errorf("nonsense: %d", resp.StatusCode)
	}
	if resp := r.send(r.request("PUT", APIPrefix+"/business/config", `{"webhookUrl":"`+r.merchant.URL+`"}`)); resp.StatusCode != 401 {
		t.Errorf("without a key: %d", resp.StatusCode)
	}
	if r.WebhookURL() != "" {
		t.Error("a refused call set the URL")
	}
	r.pay(r.session(anOrder), visa)
	r.idle()
	lost := r.Deliveries()[0]
	if lost.Status != StatusUnsent {
		t.Errorf("without a webhook URL: %s", lost.Status)
	}
	if resp := r.api("PUT", "/business/config", `{"webhookUrl":"`+r.merchant.URL+`"}`); resp.StatusCode != http.StatusOK {
		t.Fatalf("PUT: %d %s", resp.StatusCode, resp.body)
	}
	if err := r.Resend(lost.ID); err != nil {
		t.Fatal(err)
	}
	r.wantEvents(EventPaymentCompleted)
}

func TestCallLog(t *testing.T) {
	r := newRig(t, nil)
	r.session(anOrder)
	r.post(APIPrefix+"/business/payment/session", "no json")
	calls := r.Calls()
	if len(calls) != 2 {
		t.Fatalf("%d calls", len(calls))
	}
	first, second := calls[0], calls[1]
	if first.Auth != "api-key" || first.Status != 201 || string(first.Body) != anOrder || first.Route != RouteSession {
		t.Errorf("first %+v", first)
	}
	if second.Auth != "none" || second.Status != 401 || second.Body != nil {
		t.Errorf("second %+v", second)
	}
	list := decode(t, r.get("/sandbox/calls").body)
	if list["total"].(interface{ String() string }).String() != "2" || len(list["calls"].([]any)) != 2 || list["counts"].(map[string]any)[RouteSession] == nil {
		t.Errorf("listed %v", list)
	}
}

func TestAmounts(t *testing.T) {
	for _, tc := range []struct{ in, currency, out, shown string }{
		{"5", "usd", "5", "5.00 USD"},
		{"5.0", "usd", "5.0", "5.00 USD"},
		{"5.00", "eur", "5.00", "5.00 EUR"},
		{"0.5", "usd", "0.5", "0.50 USD"},
		{"19.999", "usd", "19.999", "19.999 USD"},
		{"1500", "ugx", "1500", "1500 UGX"},
		{"1500.00", "ugx", "1500.00", "1500 UGX"},
		{"1.5", "kwd", "1.5", "1.500 KWD"},
		{"9007199254740993.01", "usd", "9007199254740993.01", "9007199254740993.01 USD"},
		{"5e2", "usd", "500", "500.00 USD"},
		{"55E-1", "usd", "5.5", "5.50 USD"},
	} {
		got, err := parseAmount([]byte(tc.in))
		if err != nil || got.String() != tc.out {
			t.Errorf("%s: %s, %v", tc.in, got, err)
		}
		if shown := displayAmount(got, tc.currency); shown != tc.shown {
			t.Errorf("%s %s is shown as %q", tc.in, tc.currency, shown)
		}
	}
}
