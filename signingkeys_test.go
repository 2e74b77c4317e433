package paywall_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/ledger"
	signing "github.com/caddy-axra/paywall/token"
)

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
		if key.SignsAccess {
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

func TestARotationLogsNobodyOut(t *testing.T) {
	w := newWorld(t, worldOptions{})
	early, returning := w.visitor(), w.visitor()
	early.buy("/premium/article.html", cardGood).wantPaid(t)
	oldKey := early.kid(t)
	w.hold(true)
	back := returning.pay(returning.browse("/premium/article.html"), cardGood)

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

	// Another node, which has never been told.
	other := signing.NewKeyring(w.now)
	running, err := paywall.RunningLedger()
	mustDo(t, err)
	mustDo(t, other.Refresh(t.Context(), node.KeyStore{Ledger: running}))
	for _, v := range []*visitor{early, returning, late} {
		_, err := other.VerifyAccess(v.cookie(t, "axra_t_"), w.site)
		mustDo(t, err)
	}
	w.restart()
	for _, v := range []*visitor{early, returning, late} {
		v.open("/premium/article.html").wantPaid(t)
	}
	if log := w.log(); !strings.Contains(log, "signing key added") || !strings.Contains(log, newKey) {
		t.Error("the rotation is not in the log")
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

func TestApplicationsVerifyTokensByThemselves(t *testing.T) {
	for name, options := range map[string]string{"EdDSA": "signing_algorithm EdDSA"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, worldOptions{Caddyfile: published(options)})
			v := w.visitor()
			v.buy("/premium/article.html", cardGood).wantPaid(t)
			keys, answer := w.keySet(t)
			claims, err := verifyItself(keys, w, v.cookie(t, "axra_t_"))
			mustDo(t, err)
			if claims["pass"] != "default" || claims["resource"] != "*" || claims["purchase"] != ledger.PurchaseID(w.lastPayment().SessionID) {
				t.Errorf("the claims are %v", claims)
			}
			for name, raw := range map[string]string{
				"T1 a forged one":     w.forge(nil), // an HMAC key of the storage, if it has one
				"T6 a pending cookie": w.pendingCookie(t),
			} {
				if _, err := verifyItself(keys, w, raw); err == nil {
					t.Errorf("%s is accepted", name)
				}
			}
			if strings.Contains(w.log(), "axra_jwks cannot publish") {
				t.Error("the log says that there are no keys")
			}
			if got := answer.header.Get("Content-Type"); got != "application/jwk-set+json" {
				t.Errorf("Content-Type %q", got)
			}
			if got := answer.header.Get("Cache-Control"); got != "public, max-age=60" {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}
}

func (w *world) pendingCookie(t *testing.T) string {
	t.Helper()
	v := w.visitor()
	v.open("/other")
	return v.cookie(t, "axra_p_")
}

// A new key is published before it signs, and one that is removed no longer.
func TestPublishedKeysFollowARotation(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: published("signing_algorithm EdDSA")})
	before, first := w.keySet(t)
	newKey := rotate(t)
	after, second := w.keySet(t)
	if len(before) != 1 || len(after) != 2 || after[newKey] == nil || signerOfAccess(t) == newKey {
		t.Errorf("%d keys, then %d; %s signs", len(before), len(after), signerOfAccess(t))
	}
	if first.header.Get("ETag") == "" || first.header.Get("ETag") == second.header.Get("ETag") {
		t.Errorf("ETags %q and %q", first.header.Get("ETag"), second.header.Get("ETag"))
	}
	for kid := range before {
		mustDo(t, paywall.RemoveKey(t.Context(), kid))
	}
	if left, _ := w.keySet(t); len(left) != 1 || left[newKey] == nil {
		t.Errorf("left are %v", left)
	}
}

func TestTheKeySetIsOnlyRead(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: published("signing_algorithm EdDSA")})
	_, answer := w.keySet(t)
	v := w.visitor()
	head := v.do(http.MethodHead, "/.well-known/jwks.json", nil, nil)
	if head.status != http.StatusOK || head.body != "" || head.header.Get("ETag") != answer.header.Get("ETag") {
		t.Errorf("HEAD: %d %q", head.status, head.body)
	}
	known := v.do(http.MethodGet, "/.well-known/jwks.json", http.Header{"If-None-Match": {answer.header.Get("ETag")}}, nil)
	if known.status != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", known.status)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		answer := v.do(method, "/.well-known/jwks.json", nil, nil)
		if answer.status != http.StatusMethodNotAllowed || answer.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, answer.status)
		}
	}
	if w.creations() != 0 {
		t.Error("the key set is sold")
	}
}

// The secret of an HMAC key would let anybody forge.
func TestHMACKeysAreNotPublished(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: published("signing_algorithm HS256")})
	if keys, answer := w.keySet(t); len(keys) != 0 || answer.body != `{"keys":[]}` {
		t.Errorf("published: %s", answer.body)
	}
	if log := w.log(); strings.Count(log, "signing_algorithm EdDSA") != 1 {
		t.Errorf("the log does not say why:\n%s", log)
	}
}
