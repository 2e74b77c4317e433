package session

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"
)

// noting keeps what OnCall is told.
func noting(into *[]Call) option {
	var mu sync.Mutex
	return func(c *ClientConfig, _ *httptest.Server) {
		c.OnCall = func(call Call) {
			mu.Lock()
			defer mu.Unlock()
			*into = append(*into, call)
		}
	}
}

func TestEachCallIsToldWithItsOutcomeAndTime(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * time.Second)
		answers(opened)(w, r)
	}
	unavailable := Call{"session", "unavailable", 0}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    []Call
	}{
		"a session":              {slow, []Call{{"session", "ok", 3 * time.Second}}},
		"500, three times":       {text(http.StatusInternalServerError, ""), []Call{unavailable, unavailable, unavailable}},
		"a redirect":             {text(http.StatusFound, "", "Location", "https://example.com/"), []Call{unavailable, unavailable, unavailable}},
		"HTML":                   {text(http.StatusOK, "<p>"), []Call{unavailable, unavailable, unavailable}},
		"401":                    {text(http.StatusUnauthorized, ""), []Call{{"session", "credentials", 0}}},
		"403":                    {text(http.StatusForbidden, ""), []Call{{"session", "credentials", 0}}},
		"422":                    {text(http.StatusUnprocessableEntity, ""), []Call{{"session", "refused", 0}}},
		"a long wait":            {text(http.StatusTooManyRequests, "", "Retry-After", "60"), []Call{{"session", "throttled", 0}}},
		"no answer till the end": {hang, []Call{{"session", "timeout", deadline}}},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []Call
			inWorld(t, test.handler, func(t *testing.T, w *world) {
				_, _ = w.Create(t.Context(), order(t))
			}, noting(&calls))
			if !reflect.DeepEqual(calls, test.want) {
				t.Errorf("told %v, want %v", calls, test.want)
			}
		})
	}
}

func TestTheExchangeIsACallOfItsOwn(t *testing.T) {
	var calls []Call
	inWorld(t, plainTokens(answers(opened)), func(t *testing.T, w *world) {
		mustCreate(t, w)
		mustCreate(t, w)
	}, withSecret, noting(&calls))
	want := []Call{{"token", "ok", 0}, {"session", "ok", 0}, {"session", "ok", 0}}
	if !reflect.DeepEqual(calls, want) {
		t.Errorf("told %v, want %v", calls, want)
	}
}

func TestACallThatAVisitorLeftIsNoTimeout(t *testing.T) {
	var calls []Call
	inWorld(t, hang, leaveEarly, noting(&calls))
	if want := []Call{{"session", "left", time.Millisecond}}; !reflect.DeepEqual(calls, want) {
		t.Errorf("told %v, want %v", calls, want)
	}
}

func TestEveryNameOfACallIsListed(t *testing.T) {
	for _, name := range callNames {
		if !slices.Contains(CallNames(), name) {
			t.Errorf("%q is not listed", name)
		}
	}
}

func TestALimiterTellsWhichBoundRefused(t *testing.T) {
	limiter := NewLimiter(Rate{Events: 1, Per: time.Minute}, Rate{Events: 2, Per: time.Minute}, newClock().now)
	var told []Bound
	limiter.OnLimit = func(by Bound) { told = append(told, by) }
	for _, client := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		limiter.Allow(client)
	}
	if want := []Bound{PerClient, Total}; !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
