package paywall_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

func TestW1W4UnverifiedWebhooksChangeNothing(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	v := w.Visitor()
	_, event := v.Started(article)
	body := sitetest.Encode(t, event)
	good := sitetest.Sign(body, sitetest.WebhookSecret)
	for name, c := range map[string]struct {
		body      []byte
		signature string
	}{
		"W1 none":             {body, ""},
		"W1 not hex":          {body, "yes"},
		"W1 truncated":        {body, good[:40]},
		"W1 wrong secret":     {body, sitetest.Sign(body, "other")},
		"W1 empty secret":     {body, sitetest.Sign(body, "")},
		"W1 of another body":  {body, sitetest.Sign([]byte("{}"), sitetest.WebhookSecret)},
		"W4 byte changed":     {bytes.Replace(body, []byte("5"), []byte("6"), 1), good},
		"W4 BOM":              {append([]byte("\xef\xbb\xbf"), body...), good},
		"W4 a space at end":   {append(bytes.Clone(body), ' '), good},
		"W4 signed with sha1": {body, "sha1=" + good},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := w.Deliver(c.body, c.signature); answer.Status != http.StatusUnauthorized {
				t.Errorf("answers %d", answer.Status)
			}
			if n := w.Rows("payments"); n != 0 {
				t.Errorf("%d payments were recorded", n)
			}
		})
	}
	for _, signature := range []string{good, "sha256=" + good, strings.ToUpper(good)} {
		if answer := w.Deliver(body, signature); answer.Status != http.StatusOK {
			t.Errorf("%.10s… answers %d", signature, answer.Status)
		}
	}
	v.Browse(article).WantPaid(t)
}

func TestW5CostlyBodies(t *testing.T) {
	w := newWorld(t, sitetest.Options{})
	for name, c := range map[string]struct {
		body   []byte
		length int64
	}{
		"announced": {bytes.Repeat([]byte("x"), 65<<10), 65 << 10},
		"chunked":   {bytes.Repeat([]byte("x"), 10<<20), -1},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Site+"/webhooks/axra", bytes.NewReader(c.body))
			mustDo(t, err)
			request.ContentLength = c.length
			request.Header.Set("X-Axra-Signature", sitetest.Sign(c.body, sitetest.WebhookSecret))
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
		request := httptest.NewRequest(http.MethodPost, w.Site+"/webhooks/axra", iotest.ErrReader(os.ErrDeadlineExceeded))
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
	w := newWorld(t, sitetest.Options{Caddyfile: strings.Replace(sitetest.FiveLines, "axra_paywall /premium/* {", "axra_paywall {", 1)})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		answer := w.Visitor().Do(method, "/webhooks/axra", sitetest.Navigation, nil)
		if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != http.MethodPost {
			t.Errorf("%s answers %d", method, answer.Status)
		}
	}
	w.Visitor().Buy(article).WantPaid(t)
	w.Write("index.php", "x")
	app := sitetest.Echo(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "taken") })
	for _, before := range []string{
		"try_files {path} /index.html", "try_files {path} {path}/ /index.php?{query}&p={path}", "rewrite * /app{uri}", "redir * https://example.com{uri} 301", "uri strip_prefix /webhooks",
	} {
		w.Load(strings.Replace(sitetest.FiveLines, "\tfile_server", "\t"+before+"\n\treverse_proxy "+app, 1))
		if answer := w.Deliver([]byte("{}"), ""); answer.Status != http.StatusUnauthorized {
			t.Errorf("%s: a delivery is answered %d %s", before, answer.Status, answer.Body)
		}
	}
}
