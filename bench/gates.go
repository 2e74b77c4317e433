package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// gate is one way to keep strangers from a section of a site.
type gate struct {
	name string
	// open starts a site behind the gate, and gets a visitor in.
	open    func(b *bench, ctx context.Context) (*site, error)
	control bool // it is no gate
	free    bool // what is asked for is a page that the gate does not cover
}

// gates are those that the bench knows, the control first, and those that were named
// on the command line.
func (o options) allGates() []gate {
	all := []gate{
		{name: "none", open: (*bench).openNone, control: true},
		{name: "no-op", open: (*bench).openNoOp},
		{name: "axra_paywall-HS256", open: axraWith("HS256")},
		{name: "axra_paywall-EdDSA", open: axraWith("EdDSA")},
		{name: "axra_paywall-free-page", open: axraWith("HS256"), free: true},
		{name: "forward_auth", open: (*bench).openForwardAuth},
		{name: "golang-jwt-HS256", open: jwtWith("HS256")},
		{name: "golang-jwt-EdDSA", open: jwtWith("EdDSA")},
	}
	for _, e := range o.extras {
		all = append(all, gate{name: e.name, open: func(b *bench, ctx context.Context) (*site, error) { return b.openExtra(ctx, e) }})
	}
	return all
}

func axraWith(algorithm string) func(*bench, context.Context) (*site, error) {
	return func(b *bench, ctx context.Context) (*site, error) { return b.openAxra(ctx, algorithm, "", "") }
}

func jwtWith(algorithm string) func(*bench, context.Context) (*site, error) {
	return func(b *bench, ctx context.Context) (*site, error) { return b.openJWT(ctx, algorithm) }
}

// openNone is the site without a gate. It sets the request header that the others fill
// from a placeholder.
func (b *bench) openNone(ctx context.Context) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	return s, b.serve(ctx, s, "", noGate)
}

// openNoOp has one handler more that does nothing but fill the placeholder, with a matcher
// on its route, as most directives have it: Caddy makes three routes of the one. The
// gates below but the paywall's have it so, too.
func (b *bench) openNoOp(ctx context.Context) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	return s, b.serve(ctx, s, "", "\tbench_noop /premium/*\n\trequest_header X-Pass {http.bench.pass}")
}

// openAxra is the site behind the paywall. Without an endpoint a sandbox is opened,
// and a visitor buys.
func (b *bench) openAxra(ctx context.Context, algorithm, endpoint, further string) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	if endpoint == "" {
		if s.api, err = b.newShop(s); err != nil {
			return nil, err
		}
		endpoint = s.api.url
	}
	if err := b.serve(ctx, s, s.axraOption(endpoint, algorithm, further), axraSite); err != nil {
		return nil, err
	}
	if s.api != nil {
		s.cookie, _, err = s.api.buy(ctx, s)
	}
	return s, err
}

// apiPrefix is the path of Axra's API, at the sandbox as well.
const apiPrefix = "/api/v1"

func (s *site) axraOption(endpoint, algorithm, further string) string {
	return fmt.Sprintf(`	axra {
		api_key {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint %s
		database %s
		signing_algorithm %s
		%s
	}`, endpoint+apiPrefix, s.database(), algorithm, further)
}

// database is what the option of that name takes. A URL holds a password, so it stands in a file.
func (s *site) database() string {
	if !s.ledger.isPostgres() {
		return fmt.Sprintf("sqlite %q", string(s.ledger))
	}
	return "postgres {file." + filepath.Join(s.home, "url") + "}"
}

const axraSite = `	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price 5.00 usd
		access 30d
		description "The premium section, 30 days"
	}
	request_header X-Pass {http.axra.pass}`

// openForwardAuth asks a server of its own about each request.
func (b *bench) openForwardAuth(ctx context.Context) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + port
	home, err := b.home()
	if err != nil {
		return nil, err
	}
	auth, err := startRole(ctx, home, roleAuth, address)
	if err != nil {
		return nil, err
	}
	if err := b.adopt(ctx, s, auth, address); err != nil {
		return nil, err
	}
	return s, b.serve(ctx, s, "", `	forward_auth /premium/* `+address+` {
		uri /
		copy_headers X-Pass
	}`)
}

// openJWT has golang-jwt parse the cookie of each request.
func (b *bench) openJWT(ctx context.Context, algorithm string) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	key, raw, err := sampleToken(algorithm, "http://"+s.host)
	if err != nil {
		return nil, err
	}
	s.cookie = jwtCookie + "=" + raw
	return s, b.serve(ctx, s, "", fmt.Sprintf("\tbench_jwt /premium/* %s %s\n\trequest_header X-Pass {http.bench.pass}", algorithm, hex.EncodeToString(key)))
}

// sampleToken is a token with claims like those of an access token. The key is the
// one that verifies.
func sampleToken(algorithm, site string) (key []byte, raw string, err error) {
	var signing any
	switch algorithm {
	case "HS256":
		key = make([]byte, 32)
		rand.Read(key)
		signing = key
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, "", err
		}
		key, signing = public, private
	default:
		return nil, "", fmt.Errorf("no algorithm %q", algorithm)
	}
	now := time.Now()
	raw, err = jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), benchClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "axra:f5d052e14ca31dd8", Audience: jwt.ClaimStrings{site},
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(30 * 24 * time.Hour)),
		},
		Pass: passName, Resource: "*", Session: "cs_" + rand.Text(), Payment: "bpay_" + rand.Text(),
	}).SignedString(signing)
	return key, raw, err
}

// extra is a gate from the command line: another Caddy with a Caddyfile of its own.
type extra struct{ name, executable, caddyfile, cookie string }

// parseExtra reads NAME=EXECUTABLE,CADDYFILE[,COOKIE].
func parseExtra(text string) (extra, error) {
	name, rest, found := strings.Cut(text, "=")
	parts := strings.SplitN(rest, ",", 3)
	if !found || name == "" || len(parts) < 2 {
		return extra{}, errors.New("write NAME=EXECUTABLE,CADDYFILE,COOKIE")
	}
	e := extra{name: name}
	var err error
	for i, to := range []*string{&e.executable, &e.caddyfile} {
		var each error
		*to, each = filepath.Abs(parts[i])
		err = errors.Join(err, each)
	}
	if len(parts) == 3 {
		e.cookie = parts[2]
	}
	return e, err
}

// openExtra starts the other Caddy, which learns from its environment where to serve what.
func (b *bench) openExtra(ctx context.Context, e extra) (*site, error) {
	s, err := b.newSite()
	if err != nil {
		return nil, err
	}
	s.cookie = e.cookie
	p, err := start(ctx, s.home, e.executable, []string{"run", "--adapter", "caddyfile", "--config", e.caddyfile},
		[]string{"BENCH_SITE=http://" + s.host, "BENCH_UNGATED=http://" + s.ungated.host, "BENCH_ROOT=" + b.root, "BENCH_STORAGE=" + s.storage, "BENCH_PASS=" + passName})
	if err != nil {
		return nil, err
	}
	if err := b.adopt(ctx, s, p, s.address); err != nil {
		return nil, err
	}
	if err := p.awaitAddress(ctx, s.ungated.address); err != nil {
		return nil, fmt.Errorf("BENCH_UNGATED, the site without a gate: %w", err)
	}
	return s, nil
}
