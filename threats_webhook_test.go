package paywall_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const webhookSecret = "bs_test_sandbox"

func sign(body []byte, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// deliver sends an event as Axra would.
func (w *world) deliver(body []byte, signature string) reply {
	w.t.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	if signature != "" {
		header.Set("X-Axra-Signature", signature)
	}
	return w.visitor().do(http.MethodPost, "/webhooks/axra", header, bytes.NewReader(body))
}

// started opens a checkout and returns its session and the event that would
// complete it.
func (v *visitor) started(target string) (session string, event map[string]any) {
	v.w.t.Helper()
	v.open(target).wantCheckout(v.w.t, v.w)
	sessions := v.w.sandbox.Sessions()
	newest := sessions[0]
	for _, each := range sessions {
		if each.CreatedAt.After(newest.CreatedAt) {
			newest = each
		}
	}
	metadata := map[string]any{"sessionId": newest.ID}
	for name, value := range newest.Metadata {
		var decoded any
		mustDo(v.w.t, json.Unmarshal(value, &decoded))
		metadata[name] = decoded
	}
	return newest.ID, map[string]any{
		"event": "payment.completed", "timestamp": v.w.now().UTC().Format(time.RFC3339),
		"data": map[string]any{
			"paymentId": "bpay_" + newest.ID, "amount": 5.00, "currency": "USD", "metadata": metadata,
		},
	}
}

func encode(t testing.TB, event any) []byte {
	t.Helper()
	raw, err := json.Marshal(event)
	mustDo(t, err)
	return raw
}

func TestW1W4UnverifiedWebhooksChangeNothing(t *testing.T) {
	w := newWorld(t, worldOptions{})
	v := w.visitor()
	_, event := v.started("/premium/article.html")
	body := encode(t, event)
	good := sign(body, webhookSecret)
	for name, c := range map[string]struct {
		body      []byte
		signature string
	}{
		"W1 none":             {body, ""},
		"W1 not hex":          {body, "yes"},
		"W1 truncated":        {body, good[:40]},
		"W1 wrong secret":     {body, sign(body, "other")},
		"W1 empty secret":     {body, sign(body, "")},
		"W1 of another body":  {body, sign([]byte("{}"), webhookSecret)},
		"W4 byte changed":     {bytes.Replace(body, []byte("5"), []byte("6"), 1), good},
		"W4 BOM":              {append([]byte("\xef\xbb\xbf"), body...), good},
		"W4 a space at end":   {append(bytes.Clone(body), ' '), good},
		"W4 signed with sha1": {body, "sha1=" + good},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := w.deliver(c.body, c.signature); answer.status != http.StatusUnauthorized {
				t.Errorf("answers %d", answer.status)
			}
			if n := w.rows("payments"); n != 0 {
				t.Errorf("%d payments were recorded", n)
			}
		})
	}
	for _, signature := range []string{good, "sha256=" + good, strings.ToUpper(good)} {
		if answer := w.deliver(body, signature); answer.status != http.StatusOK {
			t.Errorf("%.10s… answers %d", signature, answer.status)
		}
	}
	v.browse("/premium/article.html").wantPaid(t)
}

func TestW5CostlyBodies(t *testing.T) {
	w := newWorld(t, worldOptions{})
	for name, c := range map[string]struct {
		body   []byte
		length int64
	}{
		"announced": {bytes.Repeat([]byte("x"), 65<<10), 65 << 10},
		"chunked":   {bytes.Repeat([]byte("x"), 10<<20), -1},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.site+"/webhooks/axra", bytes.NewReader(c.body))
			mustDo(t, err)
			request.ContentLength = c.length
			request.Header.Set("X-Axra-Signature", sign(c.body, webhookSecret))
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return // closed while we were still sending
			}
			response.Body.Close()
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("answers %d", response.StatusCode)
			}
		})
	}
	t.Run("a byte now and then", func(t *testing.T) {
		request := httptest.NewRequest(http.MethodPost, w.site+"/webhooks/axra", iotest.ErrReader(os.ErrDeadlineExceeded))
		request.Header.Set("X-Axra-Signature", strings.Repeat("a", 64))
		recorder := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
		onlyServer(t).ServeHTTP(recorder, request)
		if left := time.Until(recorder.deadline); recorder.Code != http.StatusRequestTimeout || left <= 0 || left > 10*time.Second {
			t.Errorf("answers %d, and waits %s", recorder.Code, left)
		}
	})
}

// deadlineRecorder records the deadline for reading the request.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (r *deadlineRecorder) SetReadDeadline(deadline time.Time) error {
	if !deadline.IsZero() {
		r.deadline = deadline
	}
	return nil
}

// W12 and its class: no gate, no method and no directive of the site leads a delivery elsewhere.
func TestW12TheWebhookIsNeitherGatedNorReadNorRewritten(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "axra_paywall /premium/* {", "axra_paywall {", 1)})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		answer := w.visitor().do(method, "/webhooks/axra", navigation, nil)
		if answer.status != http.StatusMethodNotAllowed || answer.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s answers %d", method, answer.status)
		}
	}
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.stop()
	for _, before := range []string{
		"try_files {path} /index.html", "try_files {path} {path}/ /index.php?{query}&p={path}", "rewrite * /app{uri}", "redir * https://example.com{uri} 301", "uri strip_prefix /webhooks",
	} {
		app := echo(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "taken") })
		w := newWorld(t, worldOptions{Caddyfile: strings.Replace(fiveLines, "\tfile_server", "\t"+before+"\n\treverse_proxy "+app, 1)})
		w.write("index.html", "x")
		w.write("index.php", "x")
		if answer := w.deliver([]byte("{}"), ""); answer.status != http.StatusUnauthorized {
			t.Errorf("%s: a delivery is answered %d %s", before, answer.status, answer.body)
		}
		w.stop()
	}
}
