package session

import (
	"context"
	"encoding/json"
	"errors"
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
	const always = `"amount":5.00,"currency":"usd","successUrl":"https://example.com/premium?axra_session={SESSION_ID}","expiresIn":1800,"metadata":`
	full, least := order(t), order(t)
	full.Description, full.CustomerEmail = "A month of reading", "reader@example.com"
	full.Metadata = map[string]string{"source": "home", "paywall_pass": "everything"}
	least.CancelURL = ""
	for name, test := range map[string]struct {
		order    Order
		metadata map[string]string // beside that of the terms
		want     string
	}{
		"everything": {full, map[string]string{"source": "home"}, `{"cancelUrl":"https://example.com/premium?axra_cancelled=1",
			"description":"A month of reading","customerEmail":"reader@example.com",` + always},
		"no more than needed": {least, nil, `{` + always},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, answers(opened), func(t *testing.T, w *world) {
				checkout, err := w.Create(t.Context(), test.order)
				want := Checkout{"cs_1", "https://pay.useaxra.com/c/cs_1?" + checkoutQuery, time.Now().Add(30 * time.Minute)}
				if err != nil || checkout.Session != want.Session || checkout.URL != want.URL || !checkout.ExpiresAt.Equal(want.ExpiresAt) {
					t.Errorf("got %+v, %v, want %+v", checkout, err, want)
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
				metadata := test.order.Terms.Metadata()
				maps.Copy(metadata, test.metadata)
				wantJSON(t, calls[0].body, test.want+string(mustJSON(metadata))+"}")
			})
		})
	}
}

// wantJSON compares two documents, and numbers by their digits.
func wantJSON(t *testing.T, got, want string) {
	t.Helper()
	var decoded [2]any
	for i, text := range []string{got, want} {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&decoded[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if !reflect.DeepEqual(decoded[0], decoded[1]) {
		t.Errorf("got %s, want %s", got, want)
	}
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

func TestP1AHangEndsAtTheDeadline(t *testing.T) {
	for name, options := range map[string][]option{"of the create call": nil, "of the token exchange": {withSecret}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, hang, func(t *testing.T, w *world) {
				start := time.Now()
				w.wantError(t, ErrUnavailable)
				if waited := time.Since(start); waited != deadline {
					t.Errorf("given up after %s, want %s", waited, deadline)
				}
			}, options...)
		})
	}
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
		if err := w.Ready(); !errors.Is(err, ErrBusy) {
			t.Errorf("ready: %v", err)
		}
		start := time.Now()
		w.wantError(t, ErrBusy)
		if time.Since(start) != 0 {
			t.Error("one more visitor had to wait")
		}
		w.wantCalls(t, sessionPath, maxConcurrent)
		leave()
		waiting.Wait()
		if err := w.Ready(); err != nil {
			t.Errorf("when they have left: %v", err)
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

func TestATryIsRepeatedUntilItSucceeds(t *testing.T) {
	for name, test := range map[string]struct {
		fault  http.HandlerFunc
		faults int
		waited time.Duration // exactly; 0: any time
	}{
		"P3 after the wait": {text(http.StatusTooManyRequests, "", "Retry-After", "1"), 1, time.Second},
		"P4 503 twice":      {text(http.StatusServiceUnavailable, ""), 2, 0},
		"P4 reset twice":    {reset, 2, 0},
		"P5 HTML twice":     {text(http.StatusOK, "<html>"), 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			handlers := append(slices.Repeat([]http.HandlerFunc{test.fault}, test.faults), answers(opened))
			inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
				start := time.Now()
				mustCreate(t, w)
				if waited := time.Since(start); test.waited != 0 && waited != test.waited {
					t.Errorf("waited %s, want %s", waited, test.waited)
				}
				w.wantCalls(t, sessionPath, test.faults+1)
			})
		})
	}
}

func TestRetryAfterOfOtherErrors(t *testing.T) {
	for _, err := range []error{ErrUnavailable, ErrCredentials, ErrRefused, ErrCheckoutURL, context.Canceled, nil} {
		if got := RetryAfter(err); got != 10*time.Second {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// fail lets Create fail n times.
func fail(t *testing.T, w *world, n int) {
	t.Helper()
	for range n {
		w.wantError(t, ErrUnavailable)
	}
}

func TestP4TheBreakerOpensAfterFiveFailuresAndClosesAgain(t *testing.T) {
	broken := text(http.StatusBadGateway, "")
	handlers := append(slices.Repeat([]http.HandlerFunc{broken}, 6*maxTries), answers(opened))
	inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
		fail(t, w, 4)
		if opens := w.breaker(); len(opens) > 0 || w.Ready() != nil {
			t.Fatalf("open after four failures: %v", opens)
		}
		fail(t, w, 1)
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true}) || !errors.Is(w.Ready(), ErrUnavailable) {
			t.Fatalf("after five failures: %v, %v", opens, w.Ready())
		}
		start := time.Now()
		fail(t, w, 20)
		w.wantCalls(t, sessionPath, 5*maxTries)
		if time.Since(start) != 0 {
			t.Error("visitors wait while it is open")
		}

		time.Sleep(11 * time.Second)
		fail(t, w, 2) // the trial fails, and opens it again
		w.wantCalls(t, sessionPath, 6*maxTries)

		time.Sleep(11 * time.Second)
		mustCreate(t, w)
		mustCreate(t, w)
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true, false}) {
			t.Errorf("suspended and resumed, each once: %v", opens)
		}
	})
}

func TestP4RefusalsDoNotOpenTheBreaker(t *testing.T) {
	inWorld(t, text(http.StatusUnprocessableEntity, ""), func(t *testing.T, w *world) {
		for range 20 {
			w.wantError(t, ErrRefused)
		}
		w.wantCalls(t, sessionPath, 20)
	})
}

// leaveEarly is a visitor who does not wait for Axra.
func leaveEarly(t *testing.T, w *world) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, leave)
	if _, err := w.Create(ctx, order(t)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
}

func TestP4VisitorsWhoLeaveDoNotChangeTheBreaker(t *testing.T) {
	broken := text(http.StatusBadGateway, "")
	handlers := slices.Repeat([]http.HandlerFunc{hang}, 20)
	handlers = append(handlers, slices.Repeat([]http.HandlerFunc{broken}, 4*maxTries)...)
	handlers = append(handlers, hang)
	handlers = append(handlers, slices.Repeat([]http.HandlerFunc{broken}, maxTries)...)
	handlers = append(handlers, hang, answers(opened))
	inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
		for range 20 {
			leaveEarly(t, w)
		}
		fail(t, w, 4)
		leaveEarly(t, w)
		if opens := w.breaker(); len(opens) > 0 {
			t.Fatalf("open after four failures: %v", opens)
		}
		fail(t, w, 1)
		time.Sleep(11 * time.Second)
		leaveEarly(t, w) // the trial
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true}) {
			t.Fatalf("after five failures and a visitor who left: %v", opens)
		}
		mustCreate(t, w) // another trial is made all the same
		if opens := w.breaker(); !reflect.DeepEqual(opens, []bool{true, false}) {
			t.Errorf("after a trial that succeeded: %v", opens)
		}
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
	inWorld(t, text(http.StatusTemporaryRedirect, "", "Location", "/elsewhere"), func(t *testing.T, w *world) {
		w.wantError(t, ErrUnavailable)
		w.wantCalls(t, "/elsewhere", 0)
	})
}

func TestP8ABadCertificateIsRefused(t *testing.T) {
	inWorld(t, answers(opened), func(t *testing.T, w *world) {
		w.wantError(t, ErrUnavailable)
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

func TestAConfigurationThatCannotWorkIsNotQuoted(t *testing.T) {
	for _, test := range []struct{ endpoint, key string }{
		{"://", apiKey}, {"http://127.0.0.1:1", apiKey + "\n"}, {"http://127.0.0.1:1", apiKey + "\x00"}, {"http://127.0.0.1:1", "\x7f" + apiKey},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := NewClient(ClientConfig{HTTP: &http.Client{}, Endpoint: test.endpoint, Key: test.key, Now: time.Now})
			_, err := client.Create(t.Context(), order(t))
			if err == nil {
				t.Fatal("no error")
			}
			wantSecretFree(t, err)
		})
	}
}

// What each call of Axra ends with is told, for metrics.
func TestEachCallIsToldWithItsOutcomeAndTime(t *testing.T) {
	unavailable := Call{"session", "unavailable", 0}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    []Call
	}{
		"a session":            {answers(opened), []Call{{"session", "ok", 0}}},
		"500, three times":     {text(http.StatusInternalServerError, ""), []Call{unavailable, unavailable, unavailable}},
		"HTML":                 {text(http.StatusOK, "<p>"), []Call{unavailable, unavailable, unavailable}},
		"401":                  {text(http.StatusUnauthorized, ""), []Call{{"session", "credentials", 0}}},
		"422":                  {text(http.StatusUnprocessableEntity, ""), []Call{{"session", "refused", 0}}},
		"a long wait":          {text(http.StatusTooManyRequests, "", "Retry-After", "60"), []Call{{"session", "throttled", 0}}},
		"no answer to the end": {hang, []Call{{"session", "timeout", deadline}}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, test.handler, func(t *testing.T, w *world) {
				_, _ = w.Create(t.Context(), order(t))
				w.wantEnded(t, test.want...)
			})
		})
	}
	t.Run("a visitor who leaves", func(t *testing.T) {
		inWorld(t, hang, func(t *testing.T, w *world) {
			leaveEarly(t, w)
			w.wantEnded(t, Call{"session", "left", time.Millisecond})
		})
	})
	t.Run("an exchange", func(t *testing.T) {
		inWorld(t, giving(answers(opened)), func(t *testing.T, w *world) {
			mustCreate(t, w)
			mustCreate(t, w)
			w.wantEnded(t, Call{"token", "ok", 0}, Call{"session", "ok", 0}, Call{"session", "ok", 0})
		}, withSecret)
	})
}

func (w *world) wantEnded(t *testing.T, want ...Call) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !reflect.DeepEqual(w.ended, want) {
		t.Errorf("told %v, want %v", w.ended, want)
	}
}

func TestProbeCreatesNothing(t *testing.T) {
	const date = "Sun, 01 Jun 2025 12:00:00 GMT"
	at, _ := http.ParseTime(date)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		options []option
		want    Probe
		err     error
	}{
		"a good key":        {text(422, "", "Date", date), nil, Probe{Date: at}, nil},
		"a session is made": {text(200, "{}", "Date", date), nil, Probe{Date: at, Created: true}, nil},
		"a bad key":         {text(401, "", "Date", date), nil, Probe{Date: at}, ErrCredentials},
		"a good secret":     {text(200, `{"accessToken":"TOKENTOKEN"}`, "Date", date), []option{withSecret}, Probe{Date: at, Exchanged: true}, nil},
		"a bad secret":      {text(401, "", "Date", date), []option{withSecret}, Probe{Date: at, Exchanged: true}, ErrCredentials},
		"no answer":         {hang, nil, Probe{}, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, test.handler, func(t *testing.T, w *world) {
				got, err := w.Probe(t.Context())
				if got != test.want || !errors.Is(err, test.err) {
					t.Errorf("got %+v, %v, want %+v, %v", got, err, test.want, test.err)
				}
			}, test.options...)
		})
	}
}
