package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCreateAsksAsDocumented(t *testing.T) {
	inWorld(t, answers(opened), func(t *testing.T, w *world) {
		o := order(t)
		o.Description, o.CustomerEmail = "A month of reading", "reader@example.com"
		o.Metadata = map[string]string{"source": "home", "paywall_pass": "everything"}
		checkout, err := w.Create(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if checkout.Session != "cs_1" || checkout.URL != "https://pay.useaxra.com/c/cs_1?"+checkoutQuery {
			t.Errorf("got %+v", checkout)
		}
		if want := time.Now().Add(30 * time.Minute); !checkout.ExpiresAt.Equal(want) {
			t.Errorf("expires at %s, want %s", checkout.ExpiresAt, want)
		}
		calls := w.calls(sessionPath)
		if len(calls) != 1 {
			t.Fatalf("%d calls", len(calls))
		}
		for name, want := range map[string]string{
			"X-Api-Key": apiKey, "Content-Type": "application/json", "Accept": "application/json", "Authorization": "",
		} {
			if got := calls[0].header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(calls[0].body), &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"amount": `5.00`, "currency": `"usd"`, "expiresIn": `1800`,
			"successUrl":  `"https://example.com/premium?axra_session={SESSION_ID}"`,
			"cancelUrl":   `"https://example.com/premium?axra_cancelled=1"`,
			"description": `"A month of reading"`, "customerEmail": `"reader@example.com"`,
		} {
			if string(got[name]) != want {
				t.Errorf("%s is %s, want %s", name, got[name], want)
			}
		}
		var metadata map[string]string
		if err := json.Unmarshal(got["metadata"], &metadata); err != nil {
			t.Fatal(err)
		}
		want := o.Terms.Metadata()
		want["source"] = "home"
		if !maps.Equal(metadata, want) {
			t.Errorf("metadata %v, want %v", metadata, want)
		}
	})
}

func TestCreateLeavesOutWhatIsNotSet(t *testing.T) {
	inWorld(t, answers(opened), func(t *testing.T, w *world) {
		o := order(t)
		o.CancelURL = ""
		if _, err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(w.calls(sessionPath)[0].body), &got); err != nil {
			t.Fatal(err)
		}
		names := slices.Sorted(maps.Keys(got))
		if want := []string{"amount", "currency", "expiresIn", "metadata", "successUrl"}; !slices.Equal(names, want) {
			t.Errorf("fields %v, want %v", names, want)
		}
	})
}

func TestCreateAcceptsEveryDocumentedFormOfAnswer(t *testing.T) {
	for name, answer := range map[string]func() any{
		"bare":                     func() any { return opened() },
		"in the envelope":          func() any { return fields{"success": true, "data": opened()} },
		"with more fields":         func() any { return opened().with("status", "open").with("data", nil) },
		"amount as a string":       func() any { return opened().with("amount", "5.00") },
		"amount as an integer":     func() any { return opened().with("amount", 5) },
		"currency in upper case":   func() any { return opened().with("currency", "USD") },
		"neither amount nor so":    func() any { return opened().without("amount", "currency") },
		"amount and currency null": func() any { return opened().with("amount", nil).with("currency", nil) },
		"longest session id":       func() any { return opened().with("sessionId", strings.Repeat("x", 256)) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusCreated, answer()) },
				func(t *testing.T, w *world) {
					if checkout := mustCreate(t, w); checkout.Session == "" || checkout.URL == "" {
						t.Errorf("got %+v", checkout)
					}
					w.wantCalls(t, sessionPath, 1)
				})
		})
	}
}

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
	add("P1 headers, then nothing", drip(""), ErrUnavailable, once)

	add("P2 401", status(401), ErrCredentials, once)
	add("P2 403", status(403), ErrCredentials, once)

	add("P3 429, to wait for 1 second", status(429, "Retry-After", "1"), ErrUnavailable, retried)
	add("P3 429, to wait for an hour", status(429, "Retry-After", "3600"), ErrUnavailable, once)
	add("P3 429, without a word", status(429), ErrUnavailable, once)

	for _, code := range []int{500, 502, 503, 504, 599} {
		add(fmt.Sprintf("P4 %d", code), status(code), ErrUnavailable, retried)
	}
	add("P4 reset", reset, ErrUnavailable, retried)
	add("P4 reset within the answer", raw(func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"sessionId\":"
	}), ErrUnavailable, retried)

	add("P5 HTML", text(200, "<html>"+checkoutQuery+"</html>"), ErrUnavailable, retried)
	add("P5 nothing", text(200, ""), ErrUnavailable, retried)
	add("P5 204", text(204, ""), ErrUnavailable, retried)
	add("P5 truncated JSON", text(200, `{"sessionId":"cs_1","checkoutUrl":"https://pay.useaxra.com/?`+checkoutQuery), ErrUnavailable, retried)
	add("P5 trailing data", text(200, `{"sessionId":"cs_1"}{}`), ErrUnavailable, retried)
	add("P5 null", text(200, "null"), ErrUnavailable, retried)
	add("P5 a list", text(200, "[]"), ErrUnavailable, retried)
	add("P5 a string", text(200, `"`+checkoutQuery+`"`), ErrUnavailable, retried)
	add("P5 64 KB and a byte", text(200, `{"x":"`+strings.Repeat("x", maxAnswer)+`"}`), ErrUnavailable, retried)
	add("P5 a good answer and 64 KB of blanks", func(w http.ResponseWriter, r *http.Request) {
		text(200, string(mustJSON(opened()))+strings.Repeat(" ", maxAnswer))(w, r)
	}, ErrUnavailable, retried)
	add("P5 100 MB", flood, ErrUnavailable, retried)
	add("P5 no HTTP", raw(func(*http.Request) string { return "SSH-2.0-OpenSSH_9.9\r\n" }), ErrUnavailable, retried)
	add("P5 no HTTP, but our own words", raw(echo), ErrUnavailable, retried)
	add("P5 a status line of our own words", raw(func(r *http.Request) string { return "HTTP/1.1 " + echo(r) + "\r\n\r\n" }), ErrUnavailable, retried)
	add("P5 deep nesting", text(200, strings.Repeat("[", 60_000)), ErrUnavailable, retried)
	add("P5 fields of the wrong type", with("sessionId", 17), ErrUnavailable, retried)
	add("P5 an amount that is no number", with("amount", "five"), ErrUnavailable, retried)
	add("P5 no session id", answer(func(f fields) any { return f.without("sessionId") }), ErrUnavailable, retried)
	add("P5 an endless session id", with("sessionId", strings.Repeat("x", 257)), ErrUnavailable, retried)
	add("P5 an envelope without data", text(200, `{"success":true}`), ErrUnavailable, retried)
	add("P5 an envelope of null", text(200, `{"success":true,"data":null}`), ErrUnavailable, retried)
	add("P5 an envelope of a string", text(200, `{"success":true,"data":"`+checkoutQuery+`"}`), ErrUnavailable, retried)
	add("success is false", text(200, `{"success":false,"message":"`+checkoutQuery+`"}`), ErrRefused, once)
	add("success is no boolean", text(200, `{"success":"yes","data":{}}`), ErrUnavailable, retried)

	for _, code := range []int{300, 301, 302, 303, 304, 307, 308} {
		add(fmt.Sprintf("P6 %d", code), status(code, "Location", "https://evil.example/?"+checkoutQuery), ErrUnavailable, retried)
	}
	add("P6 302 to nowhere", status(302, "Location", "http://[::1/?"+checkoutQuery), ErrUnavailable, retried)

	add("P7 http", url("http://pay.useaxra.com/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 javascript", url("javascript:alert('"+checkoutQuery+"')"), ErrCheckoutURL, once)
	add("P7 data", url("data:text/html,"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 another host", url("https://evil.example/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 no host", url("/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 no scheme", url("//pay.useaxra.com/c?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 a user", url("https://pay.useaxra.com@evil.example/?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 unreadable", url("https://pay.useaxra.com/%zz?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 a line break", url("https://pay.useaxra.com/\r\nSet-Cookie: a=b?"+checkoutQuery), ErrCheckoutURL, once)
	add("P7 none", url(""), ErrCheckoutURL, once)
	add("P7 an endless one", url("https://pay.useaxra.com/?"+checkoutQuery+strings.Repeat("x", maxCheckoutURL)), ErrUnavailable, retried)

	add("another amount", with("amount", 500), ErrRefused, once)
	add("a smaller amount", with("amount", 4.99), ErrRefused, once)
	add("a negative amount", with("amount", -5), ErrRefused, once)
	add("an amount beyond measure", answer(func(f fields) any { return f.with("amount", json.Number("1e999999999")) }), ErrRefused, once)
	add("another currency", with("currency", "eur"), ErrRefused, once)
	add("another amount, without a currency", answer(func(f fields) any { return f.with("amount", 500).without("currency") }), ErrRefused, once)
	add("another currency, without an amount", answer(func(f fields) any { return f.with("currency", "eur").without("amount") }), ErrRefused, once)

	add("P9 expired", with("expiresAt", "1999-01-01T00:00:00Z"), ErrUnavailable, retried)

	for _, code := range []int{400, 402, 404, 405, 409, 413, 422} {
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

// flood sends 100 MB of JSON, as far as anybody reads it.
func flood(w http.ResponseWriter, _ *http.Request) {
	chunk := []byte(strings.Repeat(" ", 64<<10))
	for range 1600 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, "{}")
}

// plainTokens hands out tokens, so that only the create call is in trouble.
func plainTokens(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == tokenPath {
			giveToken(w, "TOKENTOKEN", 3600)
			return
		}
		handler(w, r)
	}
}

func TestAxraInTroubleWithTheCreateCall(t *testing.T) {
	for way, options := range map[string][]option{"by key": nil, "by token": {withSecret}} {
		for _, test := range troubles() {
			t.Run(way+"/"+test.name, func(t *testing.T) {
				inWorld(t, plainTokens(test.handler), func(t *testing.T, w *world) {
					start := time.Now()
					checkout, err := w.Create(t.Context(), order(t))
					if !errors.Is(err, test.want) {
						t.Fatalf("got %v, want %v", err, test.want)
					}
					if checkout != (Checkout{}) {
						t.Errorf("a checkout %+v beside the error", checkout)
					}
					checkQuotesNothing(t, err)
					if waited := time.Since(start); waited > deadline {
						t.Errorf("it took %s", waited)
					}
					tries := test.tries
					if errors.Is(test.want, ErrCredentials) && way == "by token" {
						tries++ // with a new token
					}
					w.wantCalls(t, sessionPath, tries)
				}, options...)
			})
		}
	}
}

func TestAxraInTroubleWithTheTokenExchange(t *testing.T) {
	for _, test := range troubles() {
		if strings.HasPrefix(test.name, "P7") || strings.HasPrefix(test.name, "P9") || errors.Is(test.want, ErrRefused) && strings.Contains(test.name, "other") {
			continue // what only a create call answers
		}
		t.Run(test.name, func(t *testing.T) {
			handler := func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = sessionPath // so that every trouble answers the exchange as well
				test.handler(w, r)
			}
			inWorld(t, handler, func(t *testing.T, w *world) {
				_, err := w.Create(t.Context(), order(t))
				if err == nil {
					t.Fatal("no error")
				}
				if errors.Is(test.want, ErrCredentials) && !errors.Is(err, ErrCredentials) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				checkQuotesNothing(t, err)
				w.wantCalls(t, sessionPath, 0)
				if calls := w.calls(tokenPath); len(calls) < 1 || len(calls) > maxTries {
					t.Errorf("%d exchanges", len(calls))
				}
			}, withSecret)
		})
	}
}

func TestP1AHangEndsAtTheDeadline(t *testing.T) {
	inWorld(t, hang, func(t *testing.T, w *world) {
		start := time.Now()
		_, err := w.Create(t.Context(), order(t))
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
		if waited := time.Since(start); waited != deadline {
			t.Errorf("given up after %s, want %s", waited, deadline)
		}
	})
}

func TestP1TheDeadlineCoversTheTokenExchange(t *testing.T) {
	inWorld(t, hang, func(t *testing.T, w *world) {
		start := time.Now()
		_, err := w.Create(t.Context(), order(t))
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
		if waited := time.Since(start); waited != deadline {
			t.Errorf("given up after %s, want %s", waited, deadline)
		}
	}, withSecret)
}

func TestP1AVisitorWhoLeavesEndsTheCall(t *testing.T) {
	inWorld(t, hang, func(t *testing.T, w *world) {
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		start := time.Now()
		_, err := w.Create(ctx, order(t))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("it took %s", waited)
		}
		w.wantCalls(t, sessionPath, 1)
	})
}

func TestP1OnlySoManyVisitorsWaitAtOnce(t *testing.T) {
	inWorld(t, hang, func(t *testing.T, w *world) {
		ctx, leave := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range maxConcurrent {
			waiting.Go(func() { _, _ = w.Create(ctx, order(t)) })
		}
		synctest.Wait()
		start := time.Now()
		if _, err := w.Create(t.Context(), order(t)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
		if time.Since(start) != 0 {
			t.Error("one more visitor had to wait")
		}
		w.wantCalls(t, sessionPath, maxConcurrent)
		leave()
		waiting.Wait()
		if len(w.slots) != 0 {
			t.Errorf("%d places are not given back", len(w.slots))
		}
	})
}

func TestP3RetryAfterIsHonouredWithinBounds(t *testing.T) {
	for _, test := range []struct {
		name   string
		header func() string
		tries  int
		waited time.Duration // by this visitor
		after  time.Duration // what the next visitor is told
	}{
		{"at once", func() string { return "0" }, 3, 0, time.Second},
		{"one second", func() string { return "1" }, 3, 2 * time.Second, time.Second},
		{"two seconds", func() string { return " 2 " }, 3, 4 * time.Second, 2 * time.Second},
		{"three seconds: too long for this visitor", func() string { return "3" }, 1, 0, 3 * time.Second},
		{"two minutes", func() string { return "120" }, 1, 0, 2 * time.Minute},
		{"a day: bounded", func() string { return "86400" }, 1, 0, 5 * time.Minute},
		{"more than a duration holds", func() string { return "99999999999999" }, 1, 0, 5 * time.Minute},
		{"more than 64 bits hold", func() string { return "99999999999999999999999" }, 1, 0, 5 * time.Minute},
		{"a date", func() string { return time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) }, 1, 0, time.Minute},
		{"a date far away", func() string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, 1, 0, 5 * time.Minute},
		{"a date in the past", func() string { return "Fri, 31 Dec 1999 23:59:59 GMT" }, 1, 0, 10 * time.Second},
		{"nothing", func() string { return "" }, 1, 0, 10 * time.Second},
		{"a negative number", func() string { return "-1" }, 1, 0, 10 * time.Second},
		{"a word", func() string { return "soon" }, 1, 0, 10 * time.Second},
		{"a duration of Go", func() string { return "5m" }, 1, 0, 10 * time.Second},
		{"a fraction", func() string { return "0.5" }, 1, 0, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(w http.ResponseWriter, r *http.Request) {
				text(http.StatusTooManyRequests, "", "Retry-After", test.header())(w, r)
			}, func(t *testing.T, w *world) {
				start := time.Now()
				_, err := w.Create(t.Context(), order(t))
				if !errors.Is(err, ErrUnavailable) {
					t.Fatalf("got %v, want %v", err, ErrUnavailable)
				}
				if waited := time.Since(start); waited != test.waited {
					t.Errorf("waited %s, want %s", waited, test.waited)
				}
				w.wantCalls(t, sessionPath, test.tries)
				if got := RetryAfter(err); got != test.after {
					t.Errorf("RetryAfter %s, want %s", got, test.after)
				}
			})
		})
	}
}

func TestP3AfterTheWaitTheVisitorGoesOn(t *testing.T) {
	inWorld(t, inTurn(text(http.StatusTooManyRequests, "", "Retry-After", "1"), answers(opened)), func(t *testing.T, w *world) {
		start := time.Now()
		mustCreate(t, w)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %s", waited)
		}
		w.wantCalls(t, sessionPath, 2)
	})
}

func TestRetryAfterOfOtherErrors(t *testing.T) {
	for _, err := range []error{ErrUnavailable, ErrCredentials, ErrRefused, ErrCheckoutURL, context.Canceled, nil} {
		if got := RetryAfter(err); got != 10*time.Second {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestP4AtMostTwoRetries(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{
		"503": text(http.StatusServiceUnavailable, ""), "reset": reset, "HTML": text(http.StatusOK, "<html>"),
	} {
		for failures := range maxTries + 1 {
			t.Run(fmt.Sprintf("%s %d times", name, failures), func(t *testing.T) {
				handlers := append(slices.Repeat([]http.HandlerFunc{fault}, failures), answers(opened))
				inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
					_, err := w.Create(t.Context(), order(t))
					if (err == nil) != (failures < maxTries) {
						t.Errorf("after %d failures: %v", failures, err)
					}
					w.wantCalls(t, sessionPath, min(failures+1, maxTries))
				})
			})
		}
	}
}

// fail lets Create fail n times.
func fail(t *testing.T, w *world, n int) {
	t.Helper()
	for range n {
		if _, err := w.Create(t.Context(), order(t)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v, want %v", err, ErrUnavailable)
		}
	}
}

func TestP4TheBreakerOpensAfterFiveFailuresAndClosesAgain(t *testing.T) {
	var mu sync.Mutex
	down := true
	comeBack := func() { mu.Lock(); defer mu.Unlock(); down = false }
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			text(http.StatusBadGateway, "")(w, r)
			return
		}
		answers(opened)(w, r)
	}
	inWorld(t, handler, func(t *testing.T, w *world) {
		fail(t, w, 4)
		if opens := w.breaker(); len(opens) > 0 {
			t.Fatalf("open after four failures: %v", opens)
		}
		fail(t, w, 1)
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true}) {
			t.Fatalf("after five failures: %v", opens)
		}
		made := len(w.calls(sessionPath))
		start := time.Now()
		fail(t, w, 20)
		if got := len(w.calls(sessionPath)); got != made || time.Since(start) != 0 {
			t.Errorf("%d calls while open", got-made)
		}

		time.Sleep(11 * time.Second)
		fail(t, w, 1) // the trial call fails: open again
		made = len(w.calls(sessionPath))
		fail(t, w, 1)
		if got := len(w.calls(sessionPath)); got != made {
			t.Errorf("%d calls after a failed trial", got-made)
		}

		time.Sleep(11 * time.Second)
		comeBack()
		mustCreate(t, w)
		mustCreate(t, w)
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true, false}) {
			t.Errorf("suspended and resumed, each once: %v", opens)
		}
	})
}

func TestP4RefusalsDoNotOpenTheBreaker(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"422":           text(http.StatusUnprocessableEntity, ""),
		"another price": answers(func() fields { return opened().with("amount", 7) }),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, handler, func(t *testing.T, w *world) {
				for range 20 {
					if _, err := w.Create(t.Context(), order(t)); !errors.Is(err, ErrRefused) {
						t.Fatalf("got %v", err)
					}
				}
				w.wantCalls(t, sessionPath, 20)
			})
		})
	}
}

// leaveEarly is a visitor who does not wait for Axra.
func leaveEarly(t *testing.T, w *world) {
	t.Helper()
	ctx, leave := context.WithTimeoutCause(t.Context(), time.Minute, nil)
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := w.Create(ctx, order(t)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
}

func TestP4VisitorsWhoLeaveSayNothingAboutAxra(t *testing.T) {
	broken := text(http.StatusBadGateway, "")
	t.Run("they do not open the breaker", func(t *testing.T) {
		inWorld(t, hang, func(t *testing.T, w *world) {
			for range 20 {
				leaveEarly(t, w)
			}
			if opens := w.breaker(); len(opens) > 0 {
				t.Errorf("open: %v", opens)
			}
		})
	})
	t.Run("they do not keep it from opening", func(t *testing.T) {
		handlers := slices.Repeat([]http.HandlerFunc{broken}, 4*maxTries)
		handlers = append(handlers, hang, broken)
		inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
			fail(t, w, 4)
			leaveEarly(t, w)
			fail(t, w, 1)
			if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true}) {
				t.Errorf("after five failures and a visitor who left: %v", opens)
			}
		})
	})
	t.Run("they do not close it", func(t *testing.T) {
		handlers := slices.Repeat([]http.HandlerFunc{broken}, 5*maxTries)
		handlers = append(handlers, hang, answers(opened))
		inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
			fail(t, w, 5)
			time.Sleep(11 * time.Second)
			leaveEarly(t, w) // the trial
			if state := w.Client.breaker.State().String(); state == "closed" {
				t.Error("closed by a visitor who left")
			}
			mustCreate(t, w) // another trial is made all the same
			if state := w.Client.breaker.State().String(); state != "closed" {
				t.Errorf("the breaker is %s", state)
			}
		})
	})
}

func TestP5OnlySoMuchOfAnAnswerIsRead(t *testing.T) {
	body := &endless{}
	client := NewClient(ClientConfig{
		HTTP: doerFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body}, nil
		}),
		Endpoint: "https://axra.test", Key: apiKey, Now: time.Now,
	})
	synctest.Test(t, func(t *testing.T) {
		if _, err := client.Create(t.Context(), order(t)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
	})
	if body.read > maxTries*2*maxAnswer {
		t.Errorf("%d bytes were read", body.read)
	}
	if body.closed != maxTries {
		t.Errorf("%d of %d bodies were closed", body.closed, maxTries)
	}
}

// endless is a body without an end.
type endless struct{ read, closed int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { e.closed++; return nil }

type doerFunc func(*http.Request) (*http.Response, error)

func (f doerFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

func TestP6ARedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, text(status, "", "Location", "/elsewhere"), func(t *testing.T, w *world) {
				_, err := w.Create(t.Context(), order(t))
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "redirect") {
					t.Errorf("got %v", err)
				}
				w.wantCalls(t, "/elsewhere", 0)
			})
		})
	}
}

func TestP8ABadCertificateIsRefused(t *testing.T) {
	inWorld(t, answers(opened), func(t *testing.T, w *world) {
		_, err := w.Create(t.Context(), order(t))
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
		checkQuotesNothing(t, err)
		w.wantCalls(t, sessionPath, 0)
	}, withTLS)
}

func TestP9TheEndOfACheckoutIsClamped(t *testing.T) {
	in := func(d time.Duration) func() any {
		return func() any { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	}
	is := func(v any) func() any { return func() any { return v } }
	for _, test := range []struct {
		name      string
		expiresAt func() any
		want      time.Duration // from now
	}{
		{"as asked", in(30 * time.Minute), 30 * time.Minute},
		{"sooner", in(time.Minute), time.Minute},
		{"a little later: clocks differ", in(30*time.Minute + 59*time.Second), 30*time.Minute + 59*time.Second},
		{"with a fraction", in(30*time.Minute + time.Millisecond), 30*time.Minute + time.Millisecond},
		{"much later", in(24 * time.Hour), 30 * time.Minute},
		{"absurd", is("9999-12-31T23:59:59Z"), 30 * time.Minute},
		{"no date", is("tomorrow"), 30 * time.Minute},
		{"empty", is(""), 30 * time.Minute},
		{"null", is(nil), 30 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, answers(func() fields { return opened().with("expiresAt", test.expiresAt()) }), func(t *testing.T, w *world) {
				now := time.Now()
				if got := mustCreate(t, w).ExpiresAt.Sub(now); got != test.want {
					t.Errorf("expires in %s, want %s", got, test.want)
				}
			})
		})
	}
}

func TestAnEndpointThatIsNoAddressQuotesNothing(t *testing.T) {
	client := NewClient(ClientConfig{HTTP: http.DefaultClient, Endpoint: "://", Key: apiKey, Now: time.Now})
	_, err := client.Create(t.Context(), order(t))
	if err == nil {
		t.Fatal("no error")
	}
	checkQuotesNothing(t, err)
}

func TestAKeyThatIsNoHeaderValueIsNotQuoted(t *testing.T) {
	for _, key := range []string{apiKey + "\n", apiKey + "\x00", "\x7f" + apiKey} {
		synctest.Test(t, func(t *testing.T) {
			client := NewClient(ClientConfig{HTTP: &http.Client{}, Endpoint: "http://127.0.0.1:1", Key: key, Now: time.Now})
			_, err := client.Create(t.Context(), order(t))
			if err == nil {
				t.Fatal("no error")
			}
			checkQuotesNothing(t, err)
		})
	}
}
