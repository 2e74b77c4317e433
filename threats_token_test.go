package paywall_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
)

// forge signs claims with the installation's own key, as nobody outside can.
func (w *world) forge(edit func(header, claims map[string]any)) string {
	w.t.Helper()
	installation, kid, secret := w.signingKey()
	purchase := ledger.PurchaseID(w.lastPayment().SessionID)
	running, err := paywall.RunningLedger()
	mustDo(w.t, err)
	bought, err := running.Holding(w.t.Context(), purchase)
	mustDo(w.t, err)
	claims := jwt.MapClaims{
		"iss": "axra:" + installation, "aud": []string{w.site}, "iat": w.now().Unix(), "exp": w.now().Add(time.Hour).Unix(),
		"pass": "/premium/*", "resource": "*", "purchase": purchase, "device": bought.DeviceIDs[0],
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"], token.Header["typ"] = kid, "paywall+jwt"
	if edit != nil {
		edit(token.Header, claims)
	}
	signed, err := token.SignedString(secret)
	mustDo(w.t, err)
	return signed
}

// T1–T6 at the gate; the token package has the longer list.
func TestTForgedTokens(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	good := w.forge(nil)
	program := func(token string) reply {
		return w.visitor().do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer " + token}}, nil)
	}
	program(good).wantPaid(t) // the forgery itself is sound
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"paywall+jwt"}`))
	site := strings.TrimPrefix(w.site, "http://")
	pending := ""
	started := w.visitor()
	for _, cookie := range started.open("/premium/article.html").header.Values("Set-Cookie") {
		_, pending, _ = strings.Cut(cookie, "=")
		pending, _, _ = strings.Cut(pending, ";")
	}
	for name, token := range map[string]string{
		"T1 none":              none + "." + parts[1] + ".",
		"T1 no algorithm":      w.forge(func(h, _ map[string]any) { delete(h, "alg") }),
		"T2 unknown kid":       w.forge(func(h, _ map[string]any) { h["kid"] = "feedface" }),
		"T2 kid a path":        w.forge(func(h, _ map[string]any) { h["kid"] = "../../etc/passwd" }),
		"T2 jku":               w.forge(func(h, _ map[string]any) { h["jku"] = "http://" + site + "/keys" }),
		"T2 x5c":               w.forge(func(h, _ map[string]any) { h["x5c"] = []string{"x"} }),
		"T3 expired":           w.forge(func(_, c map[string]any) { c["exp"] = w.now().Add(-time.Second).Unix() }),
		"T3 no exp":            w.forge(func(_, c map[string]any) { delete(c, "exp") }),
		"T3 exp a string":      w.forge(func(_, c map[string]any) { c["exp"] = "9999999999" }),
		"T3 not yet":           w.forge(func(_, c map[string]any) { c["nbf"] = w.now().Add(time.Hour).Unix() }),
		"T4 other pass":        w.forge(func(_, c map[string]any) { c["pass"] = "other" }),
		"T4 other resource":    w.forge(func(_, c map[string]any) { c["resource"] = "/premium/other.html" }),
		"T4 other host":        w.forge(func(_, c map[string]any) { c["aud"] = []string{"http://other.example"} }),
		"T4 several hosts":     w.forge(func(_, c map[string]any) { c["aud"] = []string{w.site, "http://other.example"} }),
		"T4 no host":           w.forge(func(_, c map[string]any) { delete(c, "aud") }),
		"T4 other issuer":      w.forge(func(_, c map[string]any) { c["iss"] = "axra:0000000000000000" }),
		"T4 no purchase":       w.forge(func(_, c map[string]any) { delete(c, "purchase") }),
		"T7 another device":    w.forge(func(_, c map[string]any) { c["device"] = "never" }),
		"T5 truncated":         good[:len(good)-1],
		"T5 trailing":          good + "A",
		"T5 padding":           good + "=",
		"T5 trailing part":     good + ".x",
		"T5 oversized":         good + strings.Repeat("A", 8000),
		"T6 pending as access": pending,
		"T6 access as pending": "",
	} {
		t.Run(name, func(t *testing.T) {
			answer := program(token)
			if name == "T6 access as pending" {
				header := navigation.Clone()
				header.Set("Cookie", "axra_p_000000000000="+good)
				answer = w.visitor().do(http.MethodGet, "/premium/article.html", header, nil)
			}
			if answer.status == http.StatusOK || strings.Contains(answer.body, marker) {
				t.Errorf("answers %d", answer.status)
			}
		})
	}
	// Our cookie may occur twice, the valid one last.
	answer := w.visitor().do(http.MethodGet, "/premium/article.html", http.Header{
		"Cookie": {fmt.Sprintf("a=b; %s=garbage; c=d; %[1]s=%[2]s", v.cookieName(t), good)},
	}, nil)
	answer.wantPaid(t)
}

func (v *visitor) cookieName(t *testing.T) string {
	t.Helper()
	for _, cookie := range v.cookies() {
		if strings.HasPrefix(cookie.Name, "axra_t_") {
			return cookie.Name
		}
	}
	t.Fatal("no access token")
	return ""
}

// T4: a token that this node remembers is still bound to its site.
// T1: memory finds a token by the end of its signature, and opens for that very token.
func TestT1ARememberedSignatureOpensNothingElse(t *testing.T) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "endpoint       ENDPOINT", "endpoint ENDPOINT\n\t\tsigning_algorithm "+algorithm, 1)})
		v := w.visitor()
		v.buy("/premium/article.html", cardGood).wantPaid(t)
		_, good := accessCookie(t, v)
		program := func(token string) reply {
			return w.visitor().do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer " + token}}, nil)
		}
		program(good).wantPaid(t)
		parts := strings.Split(good, ".")
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		mustDo(t, err)
		other := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), `"purchase":"`, `"purchase":"x`, 1)))
		for _, remembered := range []string{"by its digest", "as a whole"} {
			for name, token := range map[string]string{
				"other claims":      parts[0] + "." + other + "." + parts[2],
				"no header":         "." + parts[1] + "." + parts[2],
				"the signature":     parts[2],
				"its end":           parts[2][len(parts[2])-43:],
				"something before":  "x" + good,
				"another signature": parts[0] + "." + parts[1] + ".x" + parts[2],
			} {
				if answer := program(token); answer.status != http.StatusPaymentRequired {
					t.Errorf("%s, remembered %s, %s: %d", algorithm, remembered, name, answer.status)
				}
			}
			program(good).wantPaid(t)
		}
		w.stop()
	}
}

func TestT4RememberedTokenOnAnotherSite(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "http://localhost:PORT {", "http://localhost:PORT, http://127.0.0.1:PORT {", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	bearer := http.Header{"Authorization": {"Bearer " + v.cookie(t, "axra_t_")}}
	v.do(http.MethodGet, "/premium/article.html", bearer, nil).wantPaid(t)
	other := strings.Replace(w.site, "localhost", "127.0.0.1", 1)
	if answer := w.visitor().do(http.MethodGet, other+"/premium/article.html", bearer, nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("the other site answers %d", answer.status)
	}
	w.visitor().open(other+"/premium/article.html").wantCheckout(t, w)
}

func TestTooLongAnAddressIsNotSold(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.visitor().open("/premium/article.html?"+strings.Repeat("x", 3000)).
		wantPage(t, http.StatusRequestURITooLong, "This address is too long")
	if w.creations() != 0 {
		t.Error("a session was created")
	}
}

// A token that ends before its access is renewed in time, and access for ever
// lasts.
func TestForeverIsRenewed(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "access 30d", "access forever", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	for range 8 {
		w.pass(190 * 24 * time.Hour)
		answer := v.open("/premium/article.html")
		answer.wantPaid(t)
		w.pass(20 * 24 * time.Hour)
		v.open("/premium/article.html").wantPaid(t)
	}
}
