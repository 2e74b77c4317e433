package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echo answers with all that a client must not let into its errors.
func echo(r *http.Request) string {
	return r.Header.Get("X-Api-Key") + r.Header.Get("Authorization") + "https://pay.useaxra.com/?" + checkoutQuery + apiSecret
}

// trouble is a way in which Axra can fail, and what Create makes of it.
type trouble struct {
	name    string
	handler http.HandlerFunc
	want    error
	tries   int
}

const (
	once    = 1
	retried = maxTries
)

func troubles() []trouble {
	answer := func(change func(fields) any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, change(opened())) }
	}
	with := func(name string, value any) http.HandlerFunc {
		return answer(func(f fields) any { return f.with(name, value) })
	}
	url := func(u string) http.HandlerFunc { return with("checkoutUrl", u) }
	status := func(code int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { text(code, echo(r), headers...)(w, r) }
	}
	var list []trouble
	add := func(name string, handler http.HandlerFunc, want error, tries int) {
		list = append(list, trouble{name, handler, want, tries})
	}
	add("P1 hangs", hang, ErrUnavailable, once)
	add("P1 a byte a second", drip(`{"sessionId":"cs_1"}`), ErrUnavailable, once)

	add("P2 401", status(401), ErrCredentials, once)
	add("P2 403", status(403), ErrCredentials, once)

	add("P3 429, to wait for 1 second", status(429, "Retry-After", "1"), ErrUnavailable, retried)
	add("P3 429, to wait for an hour", status(429, "Retry-After", "3600"), ErrUnavailable, once)
	add("P3 429, without a word", status(429), ErrUnavailable, once)

	for _, code := range []int{500, 503, 599} {
		add(fmt.Sprintf("P4 %d", code), status(code), ErrUnavailable, retried)
	}
	add("P4 reset", reset, ErrUnavailable, retried)
	add("P4 reset within the answer", raw(func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"sessionId\":"
	}), ErrUnavailable, retried)

	add("P5 HTML", text(200, "<html>"+checkoutQuery+"</html>"), ErrUnavailable, retried)
	add("P5 nothing", text(200, ""), ErrUnavailable, retried)
	add("P5 truncated JSON", text(200, `{"sessionId":"cs_1","checkoutUrl":"https://pay.useaxra.com/?`+checkoutQuery), ErrUnavailable, retried)
	add("P5 trailing data", text(200, `{"sessionId":"cs_1"}{}`), ErrUnavailable, retried)
	add("P5 a list", text(200, "[]"), ErrUnavailable, retried)
	add("P5 64 KB and a byte", text(200, `{"x":"`+strings.Repeat("x", maxAnswer)+`"}`), ErrUnavailable, retried)
	add("P5 a good answer and 64 KB of blanks", func(w http.ResponseWriter, r *http.Request) {
		text(200, string(mustJSON(opened()))+strings.Repeat(" ", maxAnswer))(w, r)
	}, ErrUnavailable, retried)
	add("P5 no HTTP", raw(func(*http.Request) string { return "SSH-2.0-OpenSSH_9.9\r\n" }), ErrUnavailable, retried)
	add("P5 a status line of our own words", raw(func(r *http.Request) string { return "HTTP/1.1 " + echo(r) + "\r\n\r\n" }), ErrUnavailable, retried)
	add("P5 deep nesting", text(200, strings.Repeat("[", 60_000)), ErrUnavailable, retried)
	add("P5 an amount that is no number", with("amount", "five"), ErrUnavailable, retried)
	add("P5 no session id", answer(func(f fields) any { return f.without("sessionId") }), ErrUnavailable, retried)
	add("P5 an endless session id", with("sessionId", strings.Repeat("x", 257)), ErrUnavailable, retried)
	add("P5 an envelope without data", text(200, `{"success":true}`), ErrUnavailable, retried)
	add("success is false", text(200, `{"success":false,"message":"`+checkoutQuery+`"}`), ErrRefused, once)
	add("success is no boolean", text(200, `{"success":"yes","data":{}}`), ErrUnavailable, retried)

	for _, code := range []int{300, 302, 304, 308} {
		add(fmt.Sprintf("P6 %d", code), status(code, "Location", "https://evil.example/?"+checkoutQuery), ErrUnavailable, retried)
	}
	add("P6 302 to nowhere", status(302, "Location", "http://[::1/?"+checkoutQuery), ErrUnavailable, retried)

	add("P7 http", url("http://pay.useaxra.com/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 another host", url("https://evil.example/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 no scheme", url("//pay.useaxra.com/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 unreadable", url("https://pay.useaxra.com/%zz?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 a line break", url("https://pay.useaxra.com/\r\nSet-Cookie: a=b?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 an endless one", url("https://pay.useaxra.com/?"+checkoutQuery+strings.Repeat("x", maxCheckoutURL)), ErrUnavailable, retried)

	add("another amount", with("amount", 500), ErrRefused, once)
	add("a smaller amount", with("amount", 4.99), ErrRefused, once)
	add("an amount beyond measure", answer(func(f fields) any { return f.with("amount", json.Number("1e999999999")) }), ErrRefused, once)
	add("another currency", with("currency", "eur"), ErrRefused, once)

	add("P9 expired", with("expiresAt", "1999-01-01T00:00:00Z"), ErrUnavailable, retried)

	for _, code := range []int{400, 404, 422} {
		add(fmt.Sprintf("a refusal with %d", code), status(code), ErrRefused, once)
	}
	return list
}

func mustJSON(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}

// drip sends the text byte by byte, one a second.
func drip(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		controller := http.NewResponseController(w)
		_ = controller.Flush()
		for _, b := range []byte(text) {
			time.Sleep(time.Second)
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			_ = controller.Flush()
		}
		<-r.Context().Done()
	}
}

func TestAxraInTroubleWithTheCreateCall(t *testing.T) {
	for way, options := range map[string][]option{"by key": nil, "by token": {withSecret}} {
		for _, test := range troubles() {
			runInWorld(t, way+"/"+test.name, giving(test.handler), func(t *testing.T, w *world) {
				start := time.Now()
				w.wantError(t, test.want)
				if waited := time.Since(start); waited > deadline {
					t.Errorf("it took %s", waited)
				}
				tries := test.tries
				if errors.Is(test.want, ErrCredentials) && way == "by token" {
					tries++ // with a new token
				}
				w.wantCalls(t, sessionPath, tries)
			}, options...)
		}
	}
}

func TestAxraInTroubleWithTheTokenExchange(t *testing.T) {
	for _, test := range troubles() {
		if strings.HasPrefix(test.name, "P7") || strings.HasPrefix(test.name, "P9") || strings.Contains(test.name, "amount") || strings.Contains(test.name, "currency") {
			continue // what only a create call answers
		}
		runInWorld(t, test.name, test.handler, func(t *testing.T, w *world) {
			_, err := w.Create(t.Context(), order(t))
			if err == nil || errors.Is(test.want, ErrCredentials) && !errors.Is(err, ErrCredentials) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			wantSecretFree(t, err)
			w.wantCalls(t, sessionPath, 0)
			if calls := w.calls(tokenPath); len(calls) < 1 || len(calls) > maxTries {
				t.Errorf("%d exchanges", len(calls))
			}
		}, withSecret)
	}
}
