// Command verifier is an application behind Caddy that verifies access tokens itself,
// to be run with examples/verifier.caddyfile. It needs nothing of the plugin but its
// public keys and the form of its tokens, which docs/reference.md describes:
//
//	go run ./examples/verifier -listen localhost:3000 -site https://example.com
package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func main() {
	listen := flag.String("listen", "localhost:3000", "address and port of this application")
	site := flag.String("site", "https://example.com", "public address of the site, as visitors see it, without a slash at the end")
	keys := flag.String("keys", "", "address of the public keys (default: /.well-known/jwks.json of the site)")
	pass := flag.String("pass", "reader", "name of the pass that must have been bought")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: newApplication(*site, *keys, *pass), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func newApplication(site, keys, pass string) *application {
	return &application{
		site: site, pass: pass, now: time.Now,
		keys: &keySet{
			url: cmp.Or(keys, site+"/.well-known/jwks.json"), now: time.Now,
			client: &http.Client{Timeout: 5 * time.Second},
		},
	}
}

// application greets someone who has paid.
type application struct {
	site string // its public address, for which tokens must be made out
	pass string // what must have been bought
	keys *keySet
	now  func() time.Time
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "private")
	w.Header().Set("Vary", "Cookie, Authorization")
	if !a.hasPaid(r) {
		fmt.Fprintln(w, "Welcome. Articles cost 5 dollars for 30 days.")
		return
	}
	fmt.Fprintln(w, "Welcome back, reader.")
}

// hasPaid looks for a good token among those of the request. A refund does not end one:
// what must close with it belongs behind a gate.
func (a *application) hasPaid(r *http.Request) bool {
	var tokens []string
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		tokens = append(tokens, token)
	}
	for _, cookie := range r.Cookies() {
		// __Host-axra_t_… is that of a pass; its end differs from pass to pass.
		if strings.Contains(cookie.Name, "axra_t_") {
			tokens = append(tokens, cookie.Value)
		}
	}
	for _, token := range tokens[:min(len(tokens), 20)] {
		if a.verify(r.Context(), token) == nil {
			return true
		}
	}
	return false
}

// claims are the claims of an access token.
type claims struct {
	jwt.RegisteredClaims
	Pass     string `json:"pass"`
	Resource string `json:"resource"` // "*": the whole pass
	Purchase string `json:"purchase"`
}

var errOther = errors.New("not a token for this")

func (a *application) verify(ctx context.Context, token string) error {
	var said claims
	_, err := jwt.ParseWithClaims(token, &said, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "paywall+jwt" {
			return nil, errOther
		}
		kid, _ := t.Header["kid"].(string)
		return a.keys.key(ctx, kid)
	}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(a.site), jwt.WithExpirationRequired(), jwt.WithTimeFunc(a.now))
	if err != nil {
		return err
	}
	if said.Pass != a.pass || said.Resource != "*" {
		return errOther
	}
	return nil
}

// keySet is the published keys. It asks once a minute: a new key is published three
// minutes before it signs, and one that has leaked is gone by then.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	asked time.Time
	keys  map[string]ed25519.PublicKey
}

func (s *keySet) key(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.asked) >= time.Minute {
		s.asked = s.now()
		keys, err := s.fetch(ctx)
		if err != nil {
			log.Printf("the keys cannot be read; those known stay in use: %v", err)
		} else {
			s.keys = keys
		}
	}
	if key := s.keys[kid]; key != nil {
		return key, nil
	}
	return nil, errOther
}

func (s *keySet) fetch(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	// Not with the visitor's patience: the answer is for all.
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", s.url, response.Status)
	}
	var set struct {
		Keys []struct {
			Type  string `json:"kty"`
			Curve string `json:"crv"`
			X     string `json:"x"`
			ID    string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	keys := make(map[string]ed25519.PublicKey)
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err == nil && key.Type == "OKP" && key.Curve == "Ed25519" && len(x) == ed25519.PublicKeySize {
			keys[key.ID] = x
		}
	}
	return keys, nil
}
