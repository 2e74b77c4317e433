package paywall_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/ledger"
	signing "github.com/caddy-axra/paywall/token"
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

// T1–T6 at the gate, signed with the installation's own key; the longer lists are in token and internal/access.
func TestT1T2T3T4T6ForgedTokens(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "http://localhost:PORT {", "http://localhost:PORT, http://127.0.0.1:PORT {", 1)})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	good := w.forge(nil)
	program := func(token string) reply {
		return w.visitor().do(http.MethodGet, "/premium/article.html", http.Header{"Authorization": {"Bearer " + token}}, nil)
	}
	program(good).wantPaid(t) // the forgery itself is sound
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"paywall+jwt"}`))
	started := w.visitor()
	started.open("/premium/article.html").wantCheckout(t, w)
	for name, token := range map[string]string{
		"T1 none":              none + "." + parts[1] + ".",
		"T1 no algorithm":      w.forge(func(h, _ map[string]any) { delete(h, "alg") }),
		"T2 unknown kid":       w.forge(func(h, _ map[string]any) { h["kid"] = "feedface" }),
		"T2 jku":               w.forge(func(h, _ map[string]any) { h["jku"] = w.site + "/keys" }),
		"T3 expired":           w.forge(func(_, c map[string]any) { c["exp"] = w.now().Add(-time.Second).Unix() }),
		"T3 no exp":            w.forge(func(_, c map[string]any) { delete(c, "exp") }),
		"T4 other pass":        w.forge(func(_, c map[string]any) { c["pass"] = "other" }),
		"T4 other resource":    w.forge(func(_, c map[string]any) { c["resource"] = "/premium/other.html" }),
		"T4 other host":        w.forge(func(_, c map[string]any) { c["aud"] = []string{"http://other.example"} }),
		"T4 no purchase":       w.forge(func(_, c map[string]any) { delete(c, "purchase") }),
		"T7 another device":    w.forge(func(_, c map[string]any) { c["device"] = "never" }),
		"T5 truncated":         good[:len(good)-1],
		"T5 oversized":         good + strings.Repeat("A", 8000),
		"T6 pending as access": started.cookie(t, "axra_p_"),
	} {
		if answer := program(token); answer.status != http.StatusPaymentRequired || strings.Contains(answer.body, marker) {
			t.Errorf("%s answers %d", name, answer.status)
		}
	}
	other := strings.Replace(w.site, "localhost", "127.0.0.1", 1)
	if answer := w.visitor().do(http.MethodGet, other+"/premium/article.html", v.bearer("/"), nil); answer.status != http.StatusPaymentRequired {
		t.Errorf("T4 another site, remembered: %d", answer.status)
	}
	header := navigation.Clone()
	header.Set("Cookie", "axra_p_000000000000="+good)
	if answer := w.visitor().do(http.MethodGet, "/premium/article.html", header, nil); strings.Contains(answer.body, marker) {
		t.Errorf("T6 access as pending answers %d", answer.status)
	}
}

// 64 identical webhooks and 64 returns at once: one payment, one right answer each.
func TestS3W6RaceOfWebhooksAndReturns(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	session, event := v.started("/premium/article.html")
	body := encode(t, event)
	signature := sign(body, webhookSecret)
	target := "/premium/article.html?axra_session=" + session
	header := navigation.Clone()
	for _, cookie := range v.cookies() {
		header.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	statuses := make(chan [2]int, 64)
	for range 64 {
		go func() {
			var got [2]int
			delivered := make(chan struct{})
			go func() {
				defer close(delivered)
				got[0] = w.deliver(body, signature).status
			}()
			got[1] = w.visitor().do(http.MethodGet, target, header, nil).status
			<-delivered
			statuses <- got
		}()
	}
	for range 64 {
		got := <-statuses
		if got[0] != http.StatusOK || got[1] != http.StatusSeeOther && got[1] != http.StatusPaymentRequired {
			t.Errorf("webhook %d, return %d", got[0], got[1])
		}
	}
	if n := w.rows("payments"); n != 1 {
		t.Errorf("%d payments", n)
	}
	v.browse(target).wantPaid(t)
}

// withOptions adds lines to the global option.
func withOptions(lines string) string {
	return strings.Replace(fiveLines, "\t\tendpoint ", "\t\t"+lines+"\n\t\tendpoint ", 1)
}

// published is fiveLines with the public keys, in front of a gate for everything.
func published(lines string) string {
	return strings.Replace(withOptions(lines), "axra_paywall /premium/* {", "axra_jwks /.well-known/jwks.json\n\taxra_paywall {", 1)
}

func rotate(t *testing.T) string {
	t.Helper()
	kid, err := paywall.RotateKeys(t.Context())
	mustDo(t, err)
	return kid
}

func signerOfAccess(t *testing.T) string {
	t.Helper()
	keys, err := paywall.ListKeys()
	mustDo(t, err)
	for _, key := range keys {
		if slices.Contains(key.Signs, signing.SignsAccess) {
			return key.ID
		}
	}
	t.Fatalf("nothing signs: %+v", keys)
	return ""
}

// kid is the key of the visitor's access token.
func (v *visitor) kid(t *testing.T) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(v.cookie(t, "axra_t_"), jwt.MapClaims{})
	mustDo(t, err)
	kid, _ := parsed.Header["kid"].(string)
	return kid
}

// A rotation, and a change of the algorithm, log nobody out.
func TestARotationLogsNobodyOut(t *testing.T) {
	for _, algorithm := range []string{"HS256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			early, returning := w.visitor(), w.visitor()
			early.buy("/premium/article.html", cardGood).wantPaid(t)
			oldKey := early.kid(t)
			w.hold(true)
			back := returning.pay(returning.browse("/premium/article.html"), cardGood)

			w.load(withOptions("signing_algorithm " + algorithm))
			newKey := rotate(t)
			w.pass(4 * time.Minute)
			early.open("/premium/article.html").wantPaid(t)
			w.hold(false)
			w.delivered()
			returning.browse(back.location()).wantPaid(t) // begun before, paid after
			late := w.visitor()
			late.buy("/premium/article.html", cardGood).wantPaid(t)
			if early.kid(t) != oldKey || returning.kid(t) != newKey || late.kid(t) != newKey {
				t.Errorf("the keys are %s, %s and %s; rotated from %s to %s", early.kid(t), returning.kid(t), late.kid(t), oldKey, newKey)
			}
			w.restart()
			w.load(fiveLines)
			other := signing.NewKeyring(w.now) // another node, which has never been told
			running, err := paywall.RunningLedger()
			mustDo(t, err)
			mustDo(t, other.Refresh(t.Context(), running))
			for _, v := range []*visitor{early, returning, late} {
				v.open("/premium/article.html").wantPaid(t)
				_, err := other.VerifyAccess(v.cookie(t, "axra_t_"), w.site)
				mustDo(t, err)
			}
		})
	}
}

// A token that this node remembers, and a private address, are void as well.
func TestWhatARemovedKeySignedIsVoidAtOnce(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tlinks", 1)})
	early := w.visitor()
	early.buy("/premium/article.html", cardGood).wantPaid(t)
	private := early.privateAddress("/premium/article.html")
	leaked := early.kid(t)
	rotate(t)
	w.pass(4 * time.Minute)
	w.visitor().open(private).wantPaid(t)
	late := w.visitor()
	late.buy("/premium/article.html", cardGood).wantPaid(t)
	early.open("/premium/article.html").wantPaid(t)

	mustDo(t, paywall.RemoveKey(t.Context(), leaked))
	// Who may have paid is not sent to a checkout unasked.
	early.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	if answer := w.visitor().open(private); strings.Contains(answer.body, marker) {
		t.Errorf("the private address still opens: %d", answer.status)
	}
	late.open("/premium/article.html").wantPaid(t)
	if err := paywall.RemoveKey(t.Context(), leaked); !errors.Is(err, signing.ErrUnknownKey) {
		t.Errorf("removed twice: %v", err)
	}

	// The only key: another one signs at once.
	last := signerOfAccess(t)
	mustDo(t, paywall.RemoveKey(t.Context(), last))
	late.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	again := w.visitor()
	again.buy("/premium/article.html", cardGood).wantPaid(t)
	if kid := again.kid(t); kid == last || kid == leaked {
		t.Errorf("signed with the removed key %s", kid)
	}
}

// keySet is what an application makes of the published keys, with nothing of ours.
func (w *world) keySet(t *testing.T) (byID map[string]ed25519.PublicKey, answer reply) {
	t.Helper()
	answer = w.visitor().do(http.MethodGet, "/.well-known/jwks.json", nil, nil)
	if answer.status != http.StatusOK {
		t.Fatalf("the key set: %d", answer.status)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	mustDo(t, json.Unmarshal([]byte(answer.body), &set))
	if set.Keys == nil {
		t.Fatalf("no list of keys: %s", answer.body)
	}
	byID = make(map[string]ed25519.PublicKey)
	for _, key := range set.Keys {
		if len(key) != 6 || key["kty"] != "OKP" || key["crv"] != "Ed25519" || key["use"] != "sig" || key["alg"] != "EdDSA" || key["d"] != "" {
			t.Errorf("key %v", key)
		}
		x, err := base64.RawURLEncoding.DecodeString(key["x"])
		mustDo(t, err)
		byID[key["kid"]] = x
	}
	return byID, answer
}

// verifyItself is how an application checks a token by itself.
func verifyItself(keys map[string]ed25519.PublicKey, w *world, raw string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if t.Header["typ"] != "paywall+jwt" || keys[kid] == nil {
			return nil, errors.New("not one of ours")
		}
		return keys[kid], nil
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(w.site), jwt.WithExpirationRequired(), jwt.WithTimeFunc(w.now))
	return claims, err
}

// T1 and T6: applications verify tokens by themselves, with keys that follow a rotation, and with no secret ones.
func TestT1T6ApplicationsVerifyTokensByThemselves(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: published("signing_algorithm EdDSA")})
	v, started := w.visitor(), w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	before, answer := w.keySet(t)
	claims, err := verifyItself(before, w, v.cookie(t, "axra_t_"))
	mustDo(t, err)
	if claims["pass"] != "default" || claims["resource"] != "*" || claims["purchase"] != ledger.PurchaseID(w.lastPayment().SessionID) {
		t.Errorf("the claims are %v", claims)
	}
	started.open("/other")
	for name, raw := range map[string]string{"T1 a forged one": w.forge(nil), "T6 a pending cookie": started.cookie(t, "axra_p_")} {
		if _, err := verifyItself(before, w, raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if answer.header.Get("Content-Type") != "application/jwk-set+json" || answer.header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("header %v", answer.header)
	}
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodGet: 200, http.MethodPost: 405, http.MethodOptions: 405} {
		if got := v.do(method, "/.well-known/jwks.json", nil, nil); got.status != want || got.header.Get("Allow") != strings.Repeat("GET, HEAD", want/405) {
			t.Errorf("%s: %d %v", method, got.status, got.header)
		}
	}
	newKey := rotate(t)
	after, _ := w.keySet(t)
	if len(before) != 1 || len(after) != 2 || after[newKey] == nil || signerOfAccess(t) == newKey {
		t.Errorf("%d keys, then %d; %s signs", len(before), len(after), signerOfAccess(t))
	}
	for kid := range before {
		mustDo(t, paywall.RemoveKey(t.Context(), kid))
	}
	if left, _ := w.keySet(t); len(left) != 1 || left[newKey] == nil {
		t.Errorf("left are %v", left)
	}

	w.load(published("signing_algorithm HS256")) // a published secret would let anybody forge
	for kid := range after {
		_ = paywall.RemoveKey(t.Context(), kid)
	}
	if keys, answer := w.keySet(t); len(keys) != 0 || answer.body != "{\"keys\":[]}\n" {
		t.Errorf("published: %s", answer.body)
	}
}
