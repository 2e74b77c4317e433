package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
		runInWorld(t, name, answers(opened), func(t *testing.T, w *world) {
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
	for name, answer := range map[string]func() fields{
		"in the envelope":          func() fields { return fields{"success": true, "data": opened()} },
		"with more fields":         func() fields { return opened().with("status", "open").with("data", nil) },
		"amount as a string":       func() fields { return opened().with("amount", "5.00") },
		"amount as an integer":     func() fields { return opened().with("amount", 5) },
		"currency in upper case":   func() fields { return opened().with("currency", "USD") },
		"neither amount nor so":    func() fields { return opened().without("amount", "currency") },
		"amount and currency null": func() fields { return opened().with("amount", nil).with("currency", nil) },
		"longest session id":       func() fields { return opened().with("sessionId", strings.Repeat("x", 256)) },
	} {
		runInWorld(t, name, answers(answer), func(t *testing.T, w *world) { mustCreate(t, w) })
	}
}

func TestP1AHangEndsAtTheDeadline(t *testing.T) {
	for name, options := range map[string][]option{"of the create call": nil, "of the token exchange": {withSecret}} {
		runInWorld(t, name, hang, func(t *testing.T, w *world) {
			start := time.Now()
			w.wantError(t, ErrUnavailable)
			if waited := time.Since(start); waited != deadline {
				t.Errorf("given up after %s, want %s", waited, deadline)
			}
		}, options...)
	}
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
		{"three seconds: too long for this visitor", func() string { return "3" }, 1, 0, 3 * time.Second},
		{"more than a duration holds", func() string { return "99999999999999" }, 1, 0, 5 * time.Minute},
		{"more than 64 bits hold", func() string { return "99999999999999999999999" }, 1, 0, 5 * time.Minute},
		{"a date", func() string { return time.Now().Add(time.Minute).UTC().Format(http.TimeFormat) }, 1, 0, time.Minute},
		{"a date in the past", func() string { return "Fri, 31 Dec 1999 23:59:59 GMT" }, 1, 0, 10 * time.Second},
		{"nothing", func() string { return "" }, 1, 0, 10 * time.Second},
		{"a negative number", func() string { return "-1" }, 1, 0, 10 * time.Second},
		{"a duration of Go", func() string { return "5m" }, 1, 0, 10 * time.Second},
	} {
		runInWorld(t, test.name, func(w http.ResponseWriter, r *http.Request) {
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
		if w.IsSuspended() || w.Ready() != nil {
			t.Fatal("open after four failures")
		}
		fail(t, w, 1)
		if !w.IsSuspended() || !errors.Is(w.Ready(), ErrUnavailable) {
			t.Fatalf("after five failures: %v", w.Ready())
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
		if w.IsSuspended() {
			t.Error("still suspended")
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
	handlers = append(handlers, slices.Repeat([]http.HandlerFunc{broken}, 5*maxTries)...)
	handlers = append(handlers, hang, answers(opened))
	inWorld(t, inTurn(handlers...), func(t *testing.T, w *world) {
		for range 20 {
			leaveEarly(t, w)
		}
		w.wantCalls(t, sessionPath, 20)
		if w.IsSuspended() {
			t.Error("suspended, although only visitors left")
		}
		fail(t, w, 5)
		time.Sleep(11 * time.Second)
		leaveEarly(t, w) // the trial
		if !w.IsSuspended() {
			t.Error("a visitor who left has closed it")
		}
		mustCreate(t, w) // another trial is made all the same
	})
}

func TestP5OnlySoMuchOfAnAnswerIsRead(t *testing.T) {
	var sent atomic.Int64
	inWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1600 { // 100 MB
			n, err := w.Write(bytes.Repeat([]byte(" "), maxAnswer))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}, func(t *testing.T, w *world) {
		w.wantError(t, ErrUnavailable)
		w.wantCalls(t, sessionPath, maxTries)
	})
	if sent.Load() > maxTries*4*maxAnswer {
		t.Errorf("%d bytes were read", sent.Load())
	}
}

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
		runInWorld(t, test.name, answers(func() fields { return opened().with("expiresAt", test.expiresAt()) }), func(t *testing.T, w *world) {
			now := time.Now()
			if got := mustCreate(t, w).ExpiresAt.Sub(now); got != test.want {
				t.Errorf("expires in %s, want %s", got, test.want)
			}
		})
	}
}

func TestAConfigurationThatCannotWorkIsNotQuoted(t *testing.T) {
	for _, test := range [][2]string{{"://", apiKey}, {"http://127.0.0.1:1", apiKey + "\n"}, {"http://127.0.0.1:1", "\x7f" + apiKey}} {
		synctest.Test(t, func(t *testing.T) {
			_, err := NewClient(ClientConfig{HTTP: &http.Client{}, Endpoint: test[0], Key: test[1], Now: time.Now}).Create(t.Context(), order(t))
			if wantSecretFree(t, err); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestEachCallIsToldWithItsOutcomeAndTime(t *testing.T) {
	create := func(t *testing.T, w *world) { _, _ = w.Create(t.Context(), order(t)) }
	unavailable := Call{"session", "unavailable", 0}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		run     func(*testing.T, *world)
		options []option
		want    []Call
	}{
		"an exchange":          {giving(answers(opened)), create, []option{withSecret}, []Call{{"token", "ok", 0}, {"session", "ok", 0}}},
		"500, three times":     {text(http.StatusInternalServerError, ""), create, nil, []Call{unavailable, unavailable, unavailable}},
		"401":                  {text(http.StatusUnauthorized, ""), create, nil, []Call{{"session", "credentials", 0}}},
		"422":                  {text(http.StatusUnprocessableEntity, ""), create, nil, []Call{{"session", "refused", 0}}},
		"a long wait":          {text(http.StatusTooManyRequests, "", "Retry-After", "60"), create, nil, []Call{{"session", "throttled", 0}}},
		"no answer to the end": {hang, create, nil, []Call{{"session", "timeout", deadline}}},
		"a visitor who leaves": {hang, leaveEarly, nil, []Call{{"session", "left", time.Millisecond}}},
	} {
		runInWorld(t, name, test.handler, func(t *testing.T, w *world) {
			test.run(t, w)
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.Equal(w.ended, test.want) {
				t.Errorf("told %v, want %v", w.ended, test.want)
			}
		}, test.options...)
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
		"a good secret":     {giving(text(422, "", "Date", date)), []option{withSecret}, Probe{Date: at, Exchanged: true}, nil},
		"a bad secret":      {text(401, "", "Date", date), []option{withSecret}, Probe{Date: at, Exchanged: true}, ErrCredentials},
		"no answer":         {hang, nil, Probe{}, ErrUnavailable},
	} {
		runInWorld(t, name, test.handler, func(t *testing.T, w *world) {
			got, err := w.Probe(t.Context())
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, test.want, test.err)
			}
		}, test.options...)
	}
}
