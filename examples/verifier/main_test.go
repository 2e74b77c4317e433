package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/token"
)

// store is a token.Store in memory.
type store struct{ set token.KeySet }

func (s *store) Keys(context.Context) (token.KeySet, error) {
	if len(s.set.Keys) == 0 {
		return token.KeySet{}, token.ErrNoKeys
	}
	return s.set, nil
}

func (s *store) ChangeKeys(_ context.Context, edit func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	s.set.Installation = "test"
	keys, err := edit(s.set)
	if err == nil && keys != nil {
		s.set.Keys = keys
	}
	return s.set, err
}

// scene is the application, and the keys of a Caddy in front of it.
type scene struct {
	t       *testing.T
	app     *application
	keyring *token.Keyring
	stored  *store
	at      time.Time
	asked   atomic.Int64
	down    atomic.Bool
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, stored: new(store), at: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	s.keyring = token.NewKeyring(s.now)
	if err := s.keyring.Ensure(t.Context(), s.stored, token.EdDSA); err != nil {
		t.Fatal(err)
	}
	caddy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		keys, err := s.keyring.PublicKeys()
		if err != nil || s.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": keys}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(caddy.Close)
	s.app = newApplication("https://example.com", caddy.URL, "reader")
	s.app.now, s.app.keys.now, s.app.keys.client = s.now, s.now, caddy.Client()
	return s
}

func (s *scene) now() time.Time { return s.at }

func (s *scene) token(algorithm string, edit func(*token.Access)) string {
	s.t.Helper()
	access := token.Access{Site: "https://example.com", Pass: "reader", Resource: "*", Purchase: "4f1c09ab2d7e6c55", Until: s.at.Add(time.Hour)}
	if edit != nil {
		edit(&access)
	}
	signed, _, err := s.keyring.SignAccess(access, algorithm)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func (s *scene) greets(name, value string) bool {
	request := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/", nil)
	request.Header.Set(name, value)
	recorder := httptest.NewRecorder()
	s.app.ServeHTTP(recorder, request)
	return strings.Contains(recorder.Body.String(), "back, reader")
}

func (s *scene) greetsCookie(value string) bool {
	return s.greets("Cookie", "a=b; __Host-axra_t_01234567="+value)
}

func TestWhoHasPaidIsGreeted(t *testing.T) {
	s := newScene(t)
	good := s.token(token.EdDSA, nil)
	if !s.greetsCookie(good) || !s.greets("Authorization", "Bearer "+good) {
		t.Error("a paid visitor is not greeted")
	}
	if s.asked.Load() != 1 {
		t.Errorf("the keys were asked for %d times", s.asked.Load())
	}
	s.at = s.at.Add(time.Hour)
	if s.greetsCookie(good) {
		t.Error("greeted after the end")
	}
}

func TestNobodyElseIsGreeted(t *testing.T) {
	s := newScene(t)
	good := s.token(token.EdDSA, nil)
	pending, err := s.keyring.Sign(token.Pending, jwt.RegisteredClaims{ExpiresAt: jwt.NewNumericDate(s.at.Add(time.Hour)), Audience: jwt.ClaimStrings{"https://example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	foreign := newScene(t).token(token.EdDSA, nil)
	none := "eyJhbGciOiJub25lIiwidHlwIjoicGF5d2FsbCtqd3QifQ." + strings.Split(good, ".")[1] + "."
	for name, value := range map[string]string{
		"nobody":             "",
		"T1 unsigned":        none,
		"T2 a foreign key":   foreign,
		"T4 another site":    s.token(token.EdDSA, func(a *token.Access) { a.Site = "https://other.example" }),
		"T4 another pass":    s.token(token.EdDSA, func(a *token.Access) { a.Pass = "other" }),
		"T4 one path of it":  s.token(token.EdDSA, func(a *token.Access) { a.Resource = "/articles/1" }),
		"T5 a part is gone":  good[:len(good)-1],
		"T6 pending cookie":  pending,
		"T6 its own payload": strings.Split(good, ".")[1],
	} {
		if s.greetsCookie(value) {
			t.Errorf("%s is greeted", name)
		}
	}
}

func TestTheKeysAreThoseOfTheSiteUnlessSaid(t *testing.T) {
	for said, want := range map[string]string{
		"":                            "https://shop.example/.well-known/jwks.json",
		"https://keys.example/a.json": "https://keys.example/a.json",
	} {
		if got := newApplication("https://shop.example", said, "reader").keys.url; got != want {
			t.Errorf("%q: %s", said, got)
		}
	}
}

func TestTheKeysAreFollowed(t *testing.T) {
	s := newScene(t)
	old := s.token(token.EdDSA, nil)
	if !s.greetsCookie(old) {
		t.Fatal("not greeted")
	}
	leaked := s.keyring.List(token.EdDSA)[0].ID
	if _, err := s.keyring.Rotate(t.Context(), s.stored, token.EdDSA); err != nil {
		t.Fatal(err)
	}
	s.at = s.at.Add(4 * time.Minute)
	fresh := s.token(token.EdDSA, nil)
	if !s.greetsCookie(old) || !s.greetsCookie(fresh) {
		t.Error("a rotation has logged somebody out")
	}
	s.down.Store(true)
	s.at = s.at.Add(2 * time.Minute)
	if !s.greetsCookie(old) {
		t.Error("while Caddy does not answer, nobody is known")
	}
	s.down.Store(false)
	if err := s.keyring.Remove(t.Context(), s.stored, leaked, token.EdDSA); err != nil {
		t.Fatal(err)
	}
	s.at = s.at.Add(time.Minute)
	if s.greetsCookie(old) || !s.greetsCookie(fresh) {
		t.Error("a key that was removed is believed, or another is not")
	}
}
