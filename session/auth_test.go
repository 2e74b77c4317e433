package session

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mint is an Axra that gives out numbered tokens.
type mint struct {
	mu        sync.Mutex
	given     int
	refused   map[string]bool // Authorization headers that it answers with 401
	expiresIn int
	delay     time.Duration // of an exchange
}

func (m *mint) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == tokenPath {
		time.Sleep(m.delay)
		m.mu.Lock()
		m.given++
		bearer := fmt.Sprintf("TOKENTOKEN%d", m.given)
		m.mu.Unlock()
		giveToken(w, bearer, m.expiresIn)
		return
	}
	m.mu.Lock()
	refused := m.refused[r.Header.Get("Authorization")]
	m.mu.Unlock()
	if refused {
		text(http.StatusUnauthorized, "")(w, r)
		return
	}
	answers(opened)(w, r)
}

// visit lets 32 visitors create a session at once.
func visit(t *testing.T, w *world) {
	t.Helper()
	var visitors sync.WaitGroup
	for range 32 {
		visitors.Go(func() {
			if _, err := w.Create(t.Context(), order(t)); err != nil {
				t.Error(err)
			}
		})
	}
	visitors.Wait()
}

func TestThirtyTwoVisitorsShareOneExchange(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second} {
		m := &mint{expiresIn: 3600, delay: delay}
		inWorld(t, m.serve, func(t *testing.T, w *world) {
			visit(t, w)
			w.wantCalls(t, tokenPath, 1)
			w.wantCalls(t, sessionPath, 32)
		}, withSecret)
	}
}

func TestATokenIsRenewedBeforeItsEnd(t *testing.T) {
	for _, test := range []struct {
		name      string
		expiresIn int
		renewed   time.Duration
	}{
		{"an hour", 3600, 54 * time.Minute},
		{"not said: a minute", 0, 54 * time.Second},
		{"a year: a day", 365 * 24 * 3600, 24 * time.Hour * 9 / 10},
	} {
		m := &mint{expiresIn: test.expiresIn}
		runInWorld(t, test.name, m.serve, func(t *testing.T, w *world) {
			mustCreate(t, w)
			wantJSON(t, w.calls(tokenPath)[0].body, `{"apiKey":"`+apiKey+`","apiSecret":"`+apiSecret+`"}`)
			time.Sleep(test.renewed - time.Nanosecond)
			mustCreate(t, w)
			w.wantCalls(t, tokenPath, 1)
			time.Sleep(time.Nanosecond)
			mustCreate(t, w)
			w.wantCalls(t, tokenPath, 2)
			calls := w.calls(sessionPath)
			for i, want := range []string{"Bearer TOKENTOKEN1", "Bearer TOKENTOKEN1", "Bearer TOKENTOKEN2"} {
				if got := calls[i].header.Get("Authorization") + calls[i].header.Get("X-Api-Key"); got != want {
					t.Errorf("call %d: %q, want %q", i, got, want)
				}
			}
		}, withSecret)
	}
}

func TestP2ARefusedTokenIsRenewedOnce(t *testing.T) {
	m := &mint{expiresIn: 3600, refused: map[string]bool{"Bearer TOKENTOKEN1": true}}
	runInWorld(t, "and the visitor goes on", m.serve, func(t *testing.T, w *world) {
		mustCreate(t, w)
		mustCreate(t, w)
		w.wantCalls(t, tokenPath, 2)
		w.wantCalls(t, sessionPath, 3)
	}, withSecret)
	m = &mint{expiresIn: 3600, refused: map[string]bool{"Bearer TOKENTOKEN1": true, "Bearer TOKENTOKEN2": true}}
	runInWorld(t, "and not again", m.serve, func(t *testing.T, w *world) {
		w.wantError(t, ErrCredentials)
		w.wantCalls(t, tokenPath, 2)
		w.wantCalls(t, sessionPath, 2)
	}, withSecret)
	m = &mint{expiresIn: 3600, delay: time.Second}
	runInWorld(t, "for all visitors together", m.serve, func(t *testing.T, w *world) {
		mustCreate(t, w)
		m.mu.Lock()
		m.refused = map[string]bool{"Bearer TOKENTOKEN1": true}
		m.mu.Unlock()
		visit(t, w)
		w.wantCalls(t, tokenPath, 2)
	}, withSecret)
}

func TestAnExchangeThatFails(t *testing.T) {
	for _, test := range []struct {
		name      string
		handler   http.HandlerFunc
		want      error
		exchanges int
	}{
		{"a field is missing", text(400, ""), ErrRefused, 1},
		{"P5 no token", text(200, `{"tokenType":"Bearer"}`), ErrUnavailable, maxTries},
		{"P5 a token of the wrong type", text(200, `{"accessToken":{"TOKENTOKEN":1}}`), ErrUnavailable, maxTries},
		{"a token that is no header value", text(200, `{"accessToken":"TOKENTOKEN\n","expiresIn":60}`), ErrUnavailable, 1},
	} {
		runInWorld(t, test.name, test.handler, func(t *testing.T, w *world) {
			w.wantError(t, test.want)
			w.wantCalls(t, tokenPath, test.exchanges)
			w.wantCalls(t, sessionPath, 0)
		}, withSecret)
	}
}

func TestAVisitorWhoLeavesDoesNotEndTheExchangeForTheOthers(t *testing.T) {
	m := &mint{expiresIn: 3600, delay: 2 * time.Second}
	inWorld(t, m.serve, func(t *testing.T, w *world) {
		var visitors sync.WaitGroup
		visitors.Go(func() { leaveEarly(t, w) })
		synctest.Wait()
		mustCreate(t, w)
		visitors.Wait()
	}, withSecret)
}
