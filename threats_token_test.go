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
	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/ledger"
	signing "github.com/caddy-axra/paywall/token"
)

// forge signs claims with the installation's own key, as nobody outside can.
func forge(w *sitetest.World, edit func(header, claims map[string]any)) string {
	w.T.Helper()
	installation, kid, secret := w.SigningKey()
	purchase := ledger.PurchaseID(w.LastPayment().SessionID)
	running, err := paywall.RunningLedger()
	mustDo(w.T, err)
	bought, err := running.Holding(w.T.Context(), purchase)
	mustDo(w.T, err)
	claims := jwt.MapClaims{
		"iss": "axra:" + installation, "aud": []string{w.Site}, "iat": w.Now().Unix(), "exp": w.Now().Add(time.Hour).Unix(),
		"pass": "/premium/*", "resource": "*", "purchase": purchase, "device": bought.DeviceIDs[0],
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"], token.Header["typ"] = kid, "paywall+jwt"
	if edit != nil {
		edit(token.Header, claims)
	}
	signed, err := token.SignedString(secret)
	mustDo(w.T, err)
	return signed
}

// T1–T6 at the gate, signed with the installation's own key; the longer lists are in token and internal/access.
func TestT1T2T3T4T6ForgedTokens(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.FiveLines, "http://localhost:PORT {", "http://localhost:PORT, http://127.0.0.1:PORT {", 1)})
	v := w.Visitor()
	v.Buy(article).WantPaid(t)
	good := forge(w, nil)
	program := func(token string) sitetest.Reply {
		return w.Visitor().Do(http.MethodGet, article, http.Header{"Authorization": {"Bearer " + token}}, nil)
	}
	program(good).WantPaid(t) // the forgery itself is sound
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"paywall+jwt"}`))
	started := w.Visitor()
	started.Open(article).WantCheckout(t, w)
	for name, token := range map[string]string{
		"T1 none":              none + "." + parts[1] + ".",
		"T1 no algorithm":      forge(w, func(h, _ map[string]any) { delete(h, "alg") }),
		"T2 unknown kid":       forge(w, func(h, _ map[string]any) { h["kid"] = "feedface" }),
		"T2 jku":               forge(w, func(h, _ map[string]any) { h["jku"] = w.Site + "/keys" }),
		"T3 expired":           forge(w, func(_, c map[string]any) { c["exp"] = w.Now().Add(-time.Second).Unix() }),
		"T3 no exp":            forge(w, func(_, c map[string]any) { delete(c, "exp") }),
		"T4 other pass":        forge(w, func(_, c map[string]any) { c["pass"] = "other" }),
		"T4 other resource":    forge(w, func(_, c map[string]any) { c["resource"] = "/premium/other.html" }),
		"T4 other host":        forge(w, func(_, c map[string]any) { c["aud"] = []string{"http://other.example"} }),
		"T4 no purchase":       forge(w, func(_, c map[string]any) { delete(c, "purchase") }),
		"T7 another device":    forge(w, func(_, c map[string]any) { c["device"] = "never" }),
		"T5 truncated":         good[:len(good)-1],
		"T5 oversized":         good + strings.Repeat("A", 8000),
		"T6 pending as access": started.Cookie("axra_p_"),
	} {
		if answer := program(token); answer.Status != http.StatusPaymentRequired || strings.Contains(answer.Body, sitetest.Marker) {
			t.Errorf("%s answers %d", name, answer.Status)
		}
	}
	other := strings.Replace(w.Site, "localhost", "127.0.0.1", 1)
	if answer := w.Visitor().Do(http.MethodGet, other+article, v.Bearer("/"), nil); answer.Status != http.StatusPaymentRequired {
		t.Errorf("T4 another site, remembered: %d", answer.Status)
	}
	header := sitetest.Navigation.Clone()
	header.Set("Cookie", "axra_p_000000000000="+good)
	if answer := w.Visitor().Do(http.MethodGet, article, header, nil); strings.Contains(answer.Body, sitetest.Marker) {
		t.Errorf("T6 access as pending answers %d", answer.Status)
	}
}

// 64 identical webhooks and 64 returns at once: one payment, one right answer each.
func TestS3W6RaceOfWebhooksAndReturns(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()
	session, event := v.Started(article)
	body := sitetest.Encode(t, event)
	signature := sitetest.Sign(body, sitetest.WebhookSecret)
	target := "/premium/article.html?axra_session=" + session
	header := sitetest.Navigation.Clone()
	for _, cookie := range v.Cookies() {
		header.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	statuses := make(chan [2]int, 64)
	for range 64 {
		go func() {
			var got [2]int
			delivered := make(chan struct{})
			go func() {
				defer close(delivered)
				got[0] = w.Deliver(body, signature).Status
			}()
			got[1] = w.Visitor().Do(http.MethodGet, target, header, nil).Status
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
	if n := w.Rows("payments"); n != 1 {
		t.Errorf("%d payments", n)
	}
	v.Browse(target).WantPaid(t)
}

// withOptions adds lines to the global option of a site whose operator has commands.
func withOptions(lines string) string {
	return strings.NewReplacer("SETUP", "SETUP ADMIN", "\t\tendpoint ", "\t\t"+lines+"\n\t\tendpoint ").Replace(sitetest.FiveLines)
}

// signingKeys are the installation's signing keys, after a command about them.
func signingKeys(w *sitetest.World, command ...string) (ids []string, signer string) {
	w.T.Helper()
	var keys []signing.KeyInfo
	w.RunJSON(&keys, append([]string{"keys"}, command...)...)
	for _, key := range keys {
		ids = append(ids, key.ID)
		if slices.Contains(key.Signs, signing.SignsAccess) {
			signer = key.ID
		}
	}
	return ids, signer
}

// rotate adds a key and returns its id.
func rotate(w *sitetest.World) string {
	w.T.Helper()
	ids, _ := signingKeys(w, "rotate")
	return ids[len(ids)-1]
}

// kid is the key of the visitor's access token.
func kid(v *sitetest.Visitor, t *testing.T) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(v.Cookie("axra_t_"), jwt.MapClaims{})
	mustDo(t, err)
	kid, _ := parsed.Header["kid"].(string)
	return kid
}

// A rotation, and a change of the algorithm, log nobody out. What a removed key signed is void at once, also tokens that
// this node remembers, and private addresses.
func TestARotationLogsNobodyOutAndARemovalItsTokens(t *testing.T) {
	linked := func(options string) string {
		return strings.Replace(withOptions(options), "access 30d", "access 30d\n\t\tlinks", 1)
	}
	w := newWorld(t, sitetest.Options{Caddyfile: linked("")})
	early, returning, late := w.Visitor(), w.Visitor(), w.Visitor()
	early.Buy(article).WantPaid(t)
	private := early.PrivateAddress(article)
	oldKey := kid(early, t)
	w.Sandbox.Hold()
	back := returning.Pay(returning.Browse(article))
	w.Load(linked("signing_algorithm EdDSA"))
	newKey := rotate(w)
	w.Pass(4 * time.Minute)
	early.Open(article).WantPaid(t)
	w.Visitor().Open(private).WantPaid(t)
	w.Sandbox.Release()
	w.Delivered()
	returning.Browse(back.Location()).WantPaid(t) // begun before, paid after
	late.Buy(article).WantPaid(t)
	if kid(early, t) != oldKey || kid(returning, t) != newKey || kid(late, t) != newKey {
		t.Errorf("the keys are %s, %s and %s; rotated from %s to %s", kid(early, t), kid(returning, t), kid(late, t), oldKey, newKey)
	}
	w.Restart()
	early.Open(article).WantPaid(t)

	signingKeys(w, "remove", oldKey, "--yes")
	// Who may have paid is not sent to a checkout unasked.
	early.Open(article).WantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	if answer := w.Visitor().Open(private); strings.Contains(answer.Body, sitetest.Marker) {
		t.Errorf("the private address still opens: %d", answer.Status)
	}
	late.Open(article).WantPaid(t)
	signingKeys(w, "remove", newKey, "--yes") // the only one: another signs at once
	late.Open(article).WantPage(t, http.StatusPaymentRequired, "Continue to checkout")
	again := w.Visitor()
	again.Buy(article).WantPaid(t)
	if kid := kid(again, t); kid == oldKey || kid == newKey {
		t.Errorf("signed with the removed key %s", kid)
	}
}

// published is a site with the public keys, in front of a gate for everything.
func published(lines string) string {
	return strings.Replace(withOptions(lines), "axra_paywall /premium/* {", "axra_jwks /.well-known/jwks.json\n\taxra_paywall {", 1)
}

// keySet is what an application makes of the published keys, with nothing of ours.
func keySet(w *sitetest.World, t *testing.T) (byID map[string]ed25519.PublicKey, answer sitetest.Reply) {
	t.Helper()
	answer = w.Visitor().Do(http.MethodGet, "/.well-known/jwks.json", nil, nil)
	if answer.Status != http.StatusOK {
		t.Fatalf("the key set: %d", answer.Status)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	mustDo(t, json.Unmarshal([]byte(answer.Body), &set))
	if set.Keys == nil {
		t.Fatalf("no list of keys: %s", answer.Body)
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
func verifyItself(keys map[string]ed25519.PublicKey, w *sitetest.World, raw string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if t.Header["typ"] != "paywall+jwt" || keys[kid] == nil {
			return nil, errors.New("not one of ours")
		}
		return keys[kid], nil
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(w.Site), jwt.WithExpirationRequired(), jwt.WithTimeFunc(w.Now))
	return claims, err
}

// T1 and T6: applications verify tokens by themselves, with keys that follow a rotation, and with no secret ones.
func TestT1T6ApplicationsVerifyTokensByThemselves(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: published("signing_algorithm EdDSA")})
	v, started := w.Visitor(), w.Visitor()
	v.Buy(article).WantPaid(t)
	before, answer := keySet(w, t)
	claims, err := verifyItself(before, w, v.Cookie("axra_t_"))
	mustDo(t, err)
	if claims["pass"] != "default" || claims["resource"] != "*" || claims["purchase"] != ledger.PurchaseID(w.LastPayment().SessionID) {
		t.Errorf("the claims are %v", claims)
	}
	started.Open("/other")
	for name, raw := range map[string]string{"T1 a forged one": forge(w, nil), "T6 a pending cookie": started.Cookie("axra_p_")} {
		if _, err := verifyItself(before, w, raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if answer.Header.Get("Content-Type") != "application/jwk-set+json" || answer.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("header %v", answer.Header)
	}
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodGet: 200, http.MethodPost: 405, http.MethodOptions: 405} {
		if got := v.Do(method, "/.well-known/jwks.json", nil, nil); got.Status != want || got.Header.Get("Allow") != strings.Repeat("GET, HEAD", want/405) {
			t.Errorf("%s: %d %v", method, got.Status, got.Header)
		}
	}
	newKey := rotate(w)
	after, _ := keySet(w, t)
	if _, signer := signingKeys(w, "list"); len(before) != 1 || len(after) != 2 || after[newKey] == nil || signer == newKey {
		t.Errorf("%d keys, then %d; %s signs", len(before), len(after), signer)
	}
	for kid := range before {
		signingKeys(w, "remove", kid, "--yes")
	}
	if left, _ := keySet(w, t); len(left) != 1 || left[newKey] == nil {
		t.Errorf("left are %v", left)
	}

	w.Load(published("signing_algorithm HS256")) // a published secret would let anybody forge
	rotate(w)
	signingKeys(w, "remove", newKey, "--yes")
	if keys, answer := keySet(w, t); len(keys) != 0 || answer.Body != "{\"keys\":[]}\n" {
		t.Errorf("published: %s", answer.Body)
	}
}
