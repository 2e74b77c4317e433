package response

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// unflushable hides that the answer can be flushed.
type unflushable struct{ http.ResponseWriter }

// buffering holds an answer back, as Caddy's recorder does.
type buffering struct {
	http.ResponseWriter
	holds bool
}

func (b buffering) Buffered() bool              { return b.holds }
func (b buffering) Flush()                      {}
func (b buffering) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// wrapper is a handler's own writer around another.
type wrapper struct {
	*caddyhttp.ResponseWriterWrapper
}

// The access log writes the header after the handler has returned.
func TestTheCheckoutURLIsNotLeftForTheLog(t *testing.T) {
	t.Parallel()
	const secret, origin = "https://pay.example/checkout/1?token=secret", "https://pay.example/"
	for _, test := range []struct {
		name string
		wrap func(w http.ResponseWriter) http.ResponseWriter
		want string // the Location that is left
	}{
		{"sent", func(w http.ResponseWriter) http.ResponseWriter { return w }, origin},
		{"sent through another writer", func(w http.ResponseWriter) http.ResponseWriter {
			return wrapper{&caddyhttp.ResponseWriterWrapper{ResponseWriter: buffering{w, false}}}
		}, origin},
		{"held back", func(w http.ResponseWriter) http.ResponseWriter { return buffering{w, true} }, secret},
		{"held back by one further out", func(w http.ResponseWriter) http.ResponseWriter {
			return wrapper{&caddyhttp.ResponseWriterWrapper{ResponseWriter: buffering{w, true}}}
		}, secret},
		{"perhaps not sent", func(w http.ResponseWriter) http.ResponseWriter { return unflushable{w} }, secret},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			recorder := httptest.NewRecorder()
			RedirectToCheckout(test.wrap(recorder), secret)
			sent := recorder.Result().Header
			if recorder.Code != http.StatusSeeOther || sent.Get("Location") != secret || sent.Get("Cache-Control") != "no-store" {
				t.Errorf("sent %d %v", recorder.Code, sent)
			}
			if got := recorder.Header().Get("Location"); got != test.want {
				t.Errorf("left is %q, want %q", got, test.want)
			}
		})
	}
}

// H2: nothing that the gate itself says is stored, and no redirect is permanent.
func TestH2AnswersOfTheGateAreNotStored(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(w http.ResponseWriter, r *http.Request){
		"redirect": func(w http.ResponseWriter, _ *http.Request) { Redirect(w, "/a") },
		"checkout": func(w http.ResponseWriter, _ *http.Request) { RedirectToCheckout(w, "https://pay.example/") },
		"problem": func(w http.ResponseWriter, r *http.Request) {
			_ = Problem(w, r, http.StatusPaymentRequired, "Pay.", 0)
		},
	} {
		recorder := httptest.NewRecorder()
		write(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		header := recorder.Header()
		if header.Get("Cache-Control") != "no-store" || header.Get("Vary") != "Cookie" || header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", name, header)
		}
		if recorder.Code != http.StatusSeeOther && recorder.Code != http.StatusPaymentRequired {
			t.Errorf("%s: status %d", name, recorder.Code)
		}
	}
}

func TestAProgramIsToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		recorder := httptest.NewRecorder()
		if err := Problem(recorder, httptest.NewRequest(method, "/", nil), http.StatusServiceUnavailable, "Try later.", 1500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		header := recorder.Header()
		if recorder.Code != 503 || header.Get("Retry-After") != "2" || header.Get("Content-Type") != ProblemType || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", method, recorder.Code, header)
		}
		if method == http.MethodHead {
			if recorder.Body.Len() > 0 || header.Get("Content-Length") == "0" {
				t.Errorf("HEAD: %v %s", header, recorder.Body)
			}
			continue
		}
		var got struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil || got.Status != 503 || got.Title != "Service Unavailable" || got.Detail != "Try later." {
			t.Errorf("%+v %v", got, err)
		}
	}
	recorder := httptest.NewRecorder()
	if err := JSON(recorder, httptest.NewRequest(http.MethodGet, "/", nil), 200, "text/plain", func() {}); err == nil || !strings.Contains(err.Error(), "encoding") {
		t.Errorf("what cannot be encoded: %v", err)
	}
}
