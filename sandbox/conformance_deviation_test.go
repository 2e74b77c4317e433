package sandbox_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
	"github.com/caddy-axra/paywall/webhook"
)

// find returns the finding about one assumption.
func find(t *testing.T, findings []finding, id string) finding {
	t.Helper()
	for _, f := range findings {
		if f.id == id {
			return f
		}
	}
	t.Fatalf("nothing about %s", id)
	return finding{}
}

// wantRefuted checks that these assumptions are refuted, and no others.
func wantRefuted(t *testing.T, findings []finding, ids string) {
	t.Helper()
	got := []string{}
	for _, f := range findings {
		if f.verdict == refuted {
			got = append(got, f.id)
		}
	}
	if strings.Join(got, " ") != ids {
		t.Errorf("refuted: %s\n   want: %s\n%s", strings.Join(got, " "), ids, table(findings))
	}
}

// wantNothingTold checks that a table gives nothing away.
func wantNothingTold(t *testing.T, said string, hidden []string) {
	t.Helper()
	for _, secret := range append(hidden, "token=", sandbox.DefaultAPIKey, sandbox.DefaultAPISecret) {
		if secret != "" && strings.Contains(said, secret) {
			t.Errorf("the table holds %q:\n%s", secret, said)
		}
	}
}

// edited changes the API's answers on their way.
func edited(old, replacement string) func(http.Handler) http.Handler {
	return answering(func(_ *http.Request, got *httptest.ResponseRecorder) {
		got.Body = bytes.NewBuffer(bytes.ReplaceAll(got.Body.Bytes(), []byte(old), []byte(replacement)))
	})
}

// answering lets edit have its way with each answer.
func answering(edit func(*http.Request, *httptest.ResponseRecorder)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := httptest.NewRecorder()
			next.ServeHTTP(got, r)
			got.Header().Del("Content-Length")
			edit(r, got)
			for name, values := range got.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(got.Code)
			_, _ = w.Write(got.Body.Bytes())
		})
	}
}

// withoutPrefix serves the API at the root only.
func withoutPrefix(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, sandbox.APIPrefix) {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = sandbox.APIPrefix + r.URL.Path
		next.ServeHTTP(w, r)
	})
}

// without refuses what has the header.
func without(header string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get(header) != "" {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(`{"success":false,"message":"no"}`))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// sameSession answers every order with the first session.
func sameSession() func(http.Handler) http.Handler {
	var first atomic.Pointer[[]byte]
	return answering(func(r *http.Request, got *httptest.ResponseRecorder) {
		if got.Code != http.StatusCreated {
			return
		}
		body := bytes.Clone(got.Body.Bytes())
		if !first.CompareAndSwap(nil, &body) {
			got.Body = bytes.NewBuffer(*first.Load())
		}
	})
}

// unprocessable answers 422 where the documentation says 400.
func unprocessable(_ *http.Request, got *httptest.ResponseRecorder) {
	if got.Code == http.StatusBadRequest {
		got.Code = http.StatusUnprocessableEntity
	}
}

func hourLate(_ *http.Request, got *httptest.ResponseRecorder) {
	got.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
}

// Every way in which Axra could be otherwise is reported, with what to do.
func TestConformanceReportsDeviations(t *testing.T) {
	for _, tc := range []struct {
		name    string
		cfg     sandbox.Config
		wrap    func(http.Handler) http.Handler
		change  func(*target)
		refuted string // all that is
		id      string // whose advice is looked at
		advice  string
	}{
		{name: "another base URL", wrap: withoutPrefix, refuted: "base-url", id: "base-url", advice: "`endpoint http://127.0.0.1:"},
		{name: "the key alone is not taken", wrap: without("X-Api-Key"), refuted: "auth-key", id: "auth-key", advice: "`api_secret {env.AXRA_API_SECRET}`"},
		{name: "tokens are not taken", wrap: without("Authorization"), refuted: "auth-bearer", id: "auth-bearer", advice: "leave out `api_secret`"},
		{name: "the key is wrong", change: func(at *target) { at.key = "bk_test_wrong" }, refuted: "auth-key", id: "auth-key", advice: "check key and secret"},
		{
			name: "the key is wrong, no secret", change: func(at *target) { at.key, at.secret = "bk_test_wrong", "" },
			refuted: "auth-key", id: "auth-key", advice: "run again with AXRA_API_SECRET",
		},
		{name: "another checkout host", cfg: sandbox.Config{BaseURL: "http://pay.example.net"}, refuted: "checkout-url plugin", id: "checkout-url", advice: "`checkout_hosts pay.example.net`"},
		{name: "another scheme", wrap: edited(`"checkoutUrl":"http://`, `"checkoutUrl":"javascript://`), refuted: "checkout-url plugin", id: "plugin", advice: "see checkout-url"},
		{name: "a renamed field", wrap: edited(`"sessionId"`, `"id"`), refuted: "answer-fields plugin", id: "answer-fields", advice: reportIt},
		{name: "another id", wrap: edited(`"sessionId":"`, `"sessionId":"a b/`), refuted: "session-id", id: "session-id", advice: reportIt},
		{name: "minor units", wrap: edited(`"amount":0.50`, `"amount":50`), refuted: "amount-confirmed plugin", id: "amount-confirmed", advice: reportIt},
		{name: "another expiry", wrap: edited(`"expiresAt":"20`, `"expiresAt":"21`), refuted: "expires-at", id: "expires-at", advice: "compare the clocks"},
		{name: "an expiry of another form", wrap: edited(`"expiresAt":"20`, `"expiresAt":"in 20`), refuted: "expires-at", id: "expires-at", advice: "counts from its own request"},
		{name: "another clock", wrap: answering(hourLate), refuted: "clock", id: "clock", advice: "NTP"},
		{name: "one session for equal orders", wrap: sameSession(), refuted: "expires-at repeat", id: "repeat", advice: "two visitors could share"},
		{name: "another lifetime of tokens", wrap: edited(`"expiresIn":3600`, `"expiresIn":900`), refuted: "token-exchange", id: "token-exchange", advice: "the plugin follows expiresIn"},
		{name: "422 for 400", wrap: answering(unprocessable), refuted: "token-missing-field", id: "token-missing-field", advice: "always sends both"},
		{name: "smaller amounts", wrap: rewritten("0.49", "0.50"), refuted: "amount-minimum", id: "amount-minimum", advice: "never sends this"},
		{name: "no metadata of another script", wrap: refusing("東京"), refuted: "metadata", id: "metadata", advice: reportIt},
		{name: "no placeholder", wrap: refusing("{SESSION_ID}"), refuted: "placeholder plugin", id: "placeholder", advice: reportIt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, at := openSandbox(t, tc.cfg, tc.wrap)
			if tc.change != nil {
				tc.change(&at)
			}
			a := newAPI(t, at)
			findings := examine(a, apiAssumptions, a.hide)
			wantRefuted(t, findings, tc.refuted)
			if got := find(t, findings, tc.id).advice; !strings.Contains(got, tc.advice) {
				t.Errorf("advice: %s\nwant: …%s…", got, tc.advice)
			}
			if said := table(findings); !strings.Contains(said, "refuted    "+tc.id+": ") {
				t.Errorf("the table does not name it:\n%s", said)
			}
			wantNothingTold(t, table(findings), a.hidden)
			if a.calls > maxLiveCalls {
				t.Errorf("%d calls", a.calls)
			}
		})
	}
}

// rewritten changes orders on their way to the API.
func rewritten(old, replacement string) func(http.Handler) http.Handler {
	return reading(func(w http.ResponseWriter, r *http.Request, body []byte, next http.Handler) {
		next.ServeHTTP(w, withBody(r, bytes.ReplaceAll(body, []byte(old), []byte(replacement))))
	})
}

// refusing refuses orders that hold the text.
func refusing(text string) func(http.Handler) http.Handler {
	return reading(func(w http.ResponseWriter, r *http.Request, body []byte, next http.Handler) {
		if bytes.Contains(body, []byte(text)) {
			http.Error(w, `{"message":"no"}`, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, withBody(r, body))
	})
}

func reading(serve func(http.ResponseWriter, *http.Request, []byte, http.Handler)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			serve(w, r, body, next)
		})
	}
}

func withBody(r *http.Request, body []byte) *http.Request {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return r
}

// What proves nothing is not held against Axra.
func TestConformanceThatCannotRun(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		wrap func(http.Handler) http.Handler
		seen string
	}{
		{"broken", nil, always(http.StatusServiceUnavailable, ""), "it answered 503: try again later"},
		{"asks to wait", nil, always(http.StatusTooManyRequests, ""), "it answered 429: try again later"},
		{"a website", nil, always(http.StatusOK, "<html>"), "not JSON"},
		{"a redirect", nil, always(http.StatusTemporaryRedirect, ""), "307"},
		{"out of time", ended, nil, "no answer: context canceled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sb, at := openSandbox(t, sandbox.Config{}, tc.wrap)
			if tc.ctx == nil {
				tc.ctx = t.Context()
			}
			a := connect(tc.ctx, at)
			defer a.close()
			findings := examine(a, apiAssumptions, a.hide)
			for _, f := range findings {
				if f.verdict != notRun {
					t.Errorf("%s is %s: %s", f.id, f.verdict, f.seen)
				}
			}
			if got := find(t, findings, "base-url").seen; !strings.Contains(got, tc.seen) {
				t.Errorf("seen %q", got)
			}
			if n := len(sb.Calls()); n != 0 {
				t.Errorf("a redirect was followed: %d calls", n)
			}
			wantNothingTold(t, table(findings), a.hidden)
		})
	}
}

func always(status int, body string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
}

// A live run costs Axra little: few calls, and sessions of the smallest amount
// that nobody pays.
func TestConformanceAsksLittle(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{"by key": nil, "by token": without("X-Api-Key")} {
		t.Run(name, func(t *testing.T) {
			sb, at := openSandbox(t, sandbox.Config{}, wrap)
			a := newAPI(t, at)
			examine(a, apiAssumptions, a.hide)
			if a.calls > maxLiveCalls {
				t.Errorf("%d calls", a.calls)
			}
			for _, s := range sb.Sessions() {
				if s.Amount != "0.50" || s.Status != sandbox.StatusOpen {
					t.Errorf("a session of %s is %s", s.Amount, s.Status)
				}
			}
			a.calls = maxLiveCalls
			if got := a.createAgain(minimal); !errors.Is(got.err, errTooMany) {
				t.Errorf("one call too many: %v", got)
			}
		})
	}
}

func TestConformanceNeverAsksProduction(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		key, secret, endpoint string
		want                  string // the endpoint
		err                   string
	}{
		{"no key", "", "", "", "", "AXRA_API_KEY is not set"},
		{"the default", "bk_test_x", "bs_test_x", "", stagingURL, ""},
		{"no secret", "bk_test_x", "", "", stagingURL, ""},
		{"a slash at the end", "bk_test_x", "", stagingURL + "/", stagingURL, ""},
		{"this machine", "bk_test_x", "", "http://localhost:8403/api/v1", "http://localhost:8403/api/v1", ""},
		{"a live key", "bk_live_x", "", "", "", "bk_test_"},
		{"a key of another kind", "x", "", "", "", "bk_test_"},
		{"a live secret", "bk_test_x", "bs_live_x", "", "", "bs_test_"},
		{"the live API", "bk_test_x", "", "https://api.useaxra.com/api/v1", "", "production"},
		{"the live API in disguise", "bk_test_x", "", "https://API.useaxra.com.:443/api/v1", "", "production"},
		{"plain http", "bk_test_x", "", "http://staging-api.useaxra.com/api/v1", "", "https"},
		{"a password in the address", "bk_test_x", "", "https://ann:hush@staging-api.useaxra.com", "", "AXRA_ENDPOINT"},
		{"no address", "bk_test_x", "", "staging-api.useaxra.com", "", "AXRA_ENDPOINT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at, err := liveTarget(func(name string) string {
				return map[string]string{"AXRA_API_KEY": tc.key, "AXRA_API_SECRET": tc.secret, "AXRA_ENDPOINT": tc.endpoint}[name]
			})
			if tc.err == "" {
				if err != nil || at.endpoint != tc.want {
					t.Errorf("endpoint %s, error %v", at.endpoint, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "hush") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Without a key Axra is not asked, which is no failure and cannot be overlooked.
func TestConformanceWithoutAKeyIsNotRun(t *testing.T) {
	run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConformance$/^live$", "-axra-live")
	run.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "AXRA_") })
	said, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, said)
	}
	for _, want := range []string{"not run: AXRA_API_KEY is not set", noTestsToRun} {
		if !strings.Contains(string(said), want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// What a live run prints of each kind of finding.
func TestConformanceTable(t *testing.T) {
	got := table([]finding{
		{"one", "the first", confirmed, "201", ""},
		{"two", "the second", refuted, "404", "change it"},
		{"three", "the third", notRun, "no key", ""},
		{"four", "the fourth", noted, "upper case", ""},
	})
	const want = "confirmed  one: the first\n" +
		"           seen: 201\n" +
		"refuted    two: the second\n" +
		"           seen: 404\n" +
		"           to do: change it\n" +
		"not run    three: the third\n" +
		"           seen: no key\n" +
		"noted      four: the fourth\n" +
		"           seen: upper case\n" +
		"1 confirmed, 1 refuted, 1 noted, 1 not run\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConformanceHidesWhatAxraSays(t *testing.T) {
	for name, tc := range map[string]struct{ said, seen string }{
		"credentials":              {`no session for bk_test_sandbox with b\u0073_test_sandbox-token`, `400 "no session for … with …"`},
		"a secret of another kind": {`not hush-hush-hush`, `400 "not …"`},
		"cut in the middle":        {strings.Repeat("x", 94) + " hush-hush-hush", `400 "` + strings.Repeat("x", 94) + ` …"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, at := openSandbox(t, sandbox.Config{}, always(http.StatusBadRequest, `{"message":"`+tc.said+`"}`))
			at.secret = "hush-hush-hush"
			a := newAPI(t, at)
			findings := examine(a, apiAssumptions, a.hide)
			if got := find(t, findings, "create").seen; got != tc.seen {
				t.Errorf("seen %s\nwant %s", got, tc.seen)
			}
			wantNothingTold(t, table(findings), a.hidden)
		})
	}
}

// A delivery that differs is reported, with what to do.
func TestConformanceReportsDeviatingWebhooks(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cfg      sandbox.Config
		old, new string // in the captured request, signed anew
		verifier func(*webhook.Verifier)
		refuted  string
		seen     string // of the first that is refuted
		advice   string
	}{
		{
			name: "another header", cfg: sandbox.Config{SignatureHeader: "X-Hub-Signature"},
			refuted: "webhook-signature", seen: "header X-Axra-Signature is missing; headers that could be it: X-Hub-Signature", advice: "`signature {",
		},
		{
			name: "another header, named", cfg: sandbox.Config{SignatureHeader: "X-Hub-Signature"},
			verifier: func(v *webhook.Verifier) { v.Header = "X-Hub-Signature" },
		},
		{
			name: "another scheme", cfg: sandbox.Config{SignatureScheme: sandbox.SchemeTimestampBody},
			refuted: "webhook-signature", seen: "no configured secret", advice: "-axra-scheme",
		},
		{
			name: "another scheme, named", cfg: sandbox.Config{SignatureScheme: sandbox.SchemeTimestampBody},
			verifier: func(v *webhook.Verifier) { v.Scheme = webhook.SchemeTimestampBody },
		},
		{name: "another secret", cfg: sandbox.Config{WebhookSecret: "bs_test_other"}, refuted: "webhook-signature", seen: "no configured secret", advice: "inspect"},
		{name: "session beside the metadata", old: `"sessionId":"cs_`, new: `"ofSession":"cs_`, refuted: "webhook-session", seen: "data {", advice: reportIt},
		{name: "another event", old: `payment.completed`, new: `charge.succeeded`, refuted: "webhook-event", seen: `"charge.succeeded"`, advice: "ignores it"},
		{name: "another payment id", old: `"paymentId"`, new: `"charge"`, refuted: "webhook-payment", seen: "data {amount, charge,", advice: reportIt},
		{name: "minor units", old: `"amount":0.50`, new: `"amount":0.0050`, refuted: "webhook-amount", seen: "0.0050 USD, where 0.50 USD was asked", advice: reportIt},
		{name: "no amount", old: `"amount":0.50`, new: `"total":0.50`, refuted: "webhook-amount", seen: "total}", advice: reportIt},
		{name: "another time", old: `"timestamp":"20`, new: `"timestamp":"on 20`, refuted: "webhook-envelope", seen: "{data", advice: "without a readable timestamp"},
		{name: "metadata of other types", old: `"paywall_access":"forever"`, new: `"paywall_access":true`, refuted: "webhook-metadata", seen: "access", advice: reportIt},
		{name: "ambiguous", old: `"currency":"USD"`, new: `"currency":"USD","Currency":"NGN"`, refuted: "webhook-decodes", seen: "another case", advice: reportIt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := captureDeliveries(t, tc.cfg, webhook.PaymentCompleted)[0]
			v := byDefault
			if tc.verifier != nil {
				tc.verifier(&v)
			}
			if tc.old != "" {
				raw = forged(t, raw, tc.old, tc.new)
			}
			d := deliveryFrom(t, raw, v)
			findings := examine(d, deliveryAssumptions, d.hide)
			wantRefuted(t, findings, tc.refuted)
			wantNothingTold(t, table(findings), []string{d.event.Session, d.event.Payment, "bs_test_other"})
			if tc.refuted == "" {
				return
			}
			first, _, _ := strings.Cut(tc.refuted, " ")
			if f := find(t, findings, first); !strings.Contains(f.seen, tc.seen) || !strings.Contains(f.advice, tc.advice) {
				t.Errorf("seen: %s\nto do: %s", f.seen, f.advice)
			}
		})
	}
}

// forged changes a captured request and signs it as the sandbox would.
func forged(t *testing.T, raw []byte, old, replacement string) []byte {
	t.Helper()
	body := deliveryFrom(t, raw, byDefault).body
	changed := bytes.ReplaceAll(body, []byte(old), []byte(replacement))
	if bytes.Equal(changed, body) {
		t.Fatalf("%s does not stand in %s", old, body)
	}
	signer, err := sandbox.New(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer signer.Close()
	return fmt.Appendf(nil, "X-Axra-Signature: %s\r\nContent-Length: %s\r\n\r\n%s",
		signer.Signature(sandbox.DefaultAPISecret, "", changed), strconv.Itoa(len(changed)), changed)
}

// However a delivery was saved, it is read as `caddy axra webhook inspect` reads it.
func TestConformanceReadsCapturedRequests(t *testing.T) {
	wire := string(captureDeliveries(t, sandbox.Config{}, webhook.PaymentCompleted)[0])
	captured, err := webhook.ReadCaptured([]byte(wire))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(wire, "\r\n\r\n")
	_, headers, _ := strings.Cut(head, "\r\n")
	for name, raw := range map[string]string{
		"as on the wire":          wire,
		"headers, from an editor": strings.ReplaceAll(headers, "\r\n", "\n") + "\n\n" + body + "\n",
		"without a length":        "X-Axra-Signature: " + captured.Header.Get("X-Axra-Signature") + "\n\n" + body + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := deliveryFrom(t, []byte(raw), byDefault)
			wantAllConfirmed(t, examine(d, deliveryAssumptions, d.hide))
			if string(d.body) != body {
				t.Errorf("body %q", d.body)
			}
		})
	}
	unsigned := deliveryFrom(t, []byte("Content-Type: application/json\n\n"+body), byDefault)
	wantRefuted(t, examine(unsigned, deliveryAssumptions, unsigned.hide), "webhook-signature")
}

// Each scheme needs no more than its name.
func TestConformanceKnowsTheDefaultsOfEachScheme(t *testing.T) {
	body := []byte(`{"event":"payment.completed"}`)
	mac := func(key, message string) []byte {
		sum := hmac.New(sha256.New, []byte(key))
		sum.Write([]byte(message))
		return sum.Sum(nil)
	}
	const secret = sandbox.DefaultAPISecret
	signed := "." + string(body)
	for _, tc := range []struct {
		name, header string
		verifier     webhook.Verifier
	}{
		{"the body", fmt.Sprintf("X-Axra-Signature: %x", mac(secret, string(body))), webhook.Verifier{}},
		{"time and body", fmt.Sprintf("X-Axra-Signature: %x\nX-Axra-Timestamp: 1", mac(secret, "1"+signed)), webhook.Verifier{Scheme: webhook.SchemeTimestampBody}},
		{
			"Standard Webhooks", "Webhook-Signature: v1," + base64.StdEncoding.EncodeToString(mac(secret, "m.1"+signed)) + "\nWebhook-Id: m\nWebhook-Timestamp: 1",
			webhook.Verifier{Scheme: webhook.SchemeStandard},
		},
		{
			"another header for the id", "Webhook-Signature: v1," + base64.StdEncoding.EncodeToString(mac(secret, "m.1"+signed)) + "\nSvix-Id: m\nWebhook-Timestamp: 1",
			webhook.Verifier{Scheme: webhook.SchemeStandard, IDHeader: "Svix-Id"},
		},
		{
			"a secret in hex", fmt.Sprintf("X-Axra-Signature: %x", mac("key", string(body))),
			webhook.Verifier{Secrets: [][]byte{[]byte(hex.EncodeToString([]byte("key")))}, SecretEncoding: webhook.EncodingHex},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.verifier.Secrets == nil {
				tc.verifier.Secrets = byDefault.Secrets
			}
			d := deliveryFrom(t, []byte(tc.header+"\n\n"+string(body)), tc.verifier)
			if got := checkSignature(d); got.verdict != confirmed {
				t.Errorf("%s: %s", got.verdict, got.seen)
			}
		})
	}
}

func TestConformanceWithoutTheWebhookSecret(t *testing.T) {
	raw := captureDeliveries(t, sandbox.Config{}, webhook.PaymentCompleted)[0]
	d := deliveryFrom(t, raw, webhook.Verifier{Secrets: webhookSecrets(func(string) string { return "" })})
	if got := find(t, examine(d, deliveryAssumptions, d.hide), "webhook-signature"); got.verdict != notRun {
		t.Errorf("%s: %s", got.verdict, got.seen)
	}
}
