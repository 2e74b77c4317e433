// Package paywall takes money for a route, straight from a Caddyfile: a visitor
// who has not paid is sent to a checkout session of Axra, and gets in once
// Axra's signed webhook has confirmed the payment.
package paywall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// clock is the time as the plugin sees it; tests set it forward.
var clock atomic.Pointer[func() time.Time]

func now() time.Time {
	if c := clock.Load(); c != nil {
		return (*c)()
	}
	return time.Now()
}

// App holds what all gates and webhooks of a configuration share: the
// credentials of the Axra business, the signing keys, the ledger of payments and
// the limits. In a Caddyfile it is the global option `axra`.
type App struct {
	// APIKey is the API key of the Axra business, `bk_live_…` or `bk_test_…`. It
	// must be a placeholder such as `{env.AXRA_API_KEY}` or
	// `{file./run/secrets/axra_key}`, so that the key itself never becomes part of
	// the configuration. It is required by gates.
	APIKey string `json:"api_key,omitempty"`

	// APISecret is the API secret, `bs_live_…` or `bs_test_…`, as a placeholder.
	// Where it is set, key and secret are exchanged for an access token, which is
	// renewed before its hour ends; otherwise the key alone authenticates calls.
	APISecret string `json:"api_secret,omitempty"`

	// WebhookSecrets are the secrets that may sign webhooks, as placeholders.
	// Several are accepted at a time, for a rotation. The default is the API
	// secret, since Axra says that the two are the same.
	WebhookSecrets []string `json:"webhook_secrets,omitempty"`

	// Endpoint is the base URL of Axra's API. The default follows from the API
	// key: `https://api.useaxra.com/api/v1` for live keys,
	// `https://staging-api.useaxra.com/api/v1` for test keys. Plain http is
	// accepted for loopback addresses only.
	Endpoint string `json:"endpoint,omitempty"`

	// CheckoutHosts are the hosts that visitors may be sent to for checkout. A
	// leading `*.` stands for all subdomains. The default is `pay.useaxra.com`
	// for Axra's production endpoint, `*.useaxra.com` for its sandbox, and the
	// endpoint's own host for any other.
	CheckoutHosts []string `json:"checkout_hosts,omitempty"`

	// SiteURL is the public address, such as `https://example.com`, of sites that
	// have no host name of their own in the configuration: from it the addresses are
	// built that Axra sends visitors back to. Where a proxy in front serves a site
	// under another address than its host name, give its gates their own `site_url`.
	SiteURL string `json:"site_url,omitempty"`

	// Database is where purchases, payments and signing keys are kept. The default is an SQLite file in
	// Caddy's data directory.
	Database *Database `json:"database,omitempty"`

	// Signature says how webhooks are signed; Axra's documentation leaves it open.
	Signature *SignatureConfig `json:"signature,omitempty"`

	// SigningAlgorithm is the algorithm of access tokens: `HS256` (the default) or
	// `EdDSA`. Tokens of the other one stay valid when it is changed. With EdDSA,
	// applications behind can verify tokens by themselves, with the keys that the
	// handler `axra_jwks` publishes.
	SigningAlgorithm string `json:"signing_algorithm,omitempty"`

	// Recheck is how long a node may go without reading the ledger's change feed, which it does once a
	// second, before it is in trouble: nothing is sold then, and known buyers are served for the time of
	// Grace. The default is 5s.
	Recheck caddy.Duration `json:"recheck,omitempty"`

	// Grace is how long known buyers are served while the ledger cannot be read. The default is 10m.
	Grace caddy.Duration `json:"grace,omitempty"`

	// DownloadWindow is how long, from its first byte, a counted download may be resumed and fetched again.
	// The default is 24h.
	DownloadWindow caddy.Duration `json:"download_window,omitempty"`

	// Keep is how long records of purchases are kept after access has ended, for
	// disputes and accounts, at least 60d; then they are swept. Negative: for ever. Access
	// without an end is never swept. The default is 540d.
	Keep caddy.Duration `json:"keep,omitempty"`

	// Passes are what gates sell together, by name: one payment opens every gate of
	// its site that lists the pass.
	Passes map[string]*Offer `json:"passes,omitempty"`

	// Limits bound how many checkout sessions are started.
	Limits *LimitsConfig `json:"limits,omitempty"`

	logger       *zap.Logger
	store        *store
	ledger       *ledger.Ledger // of the store
	access       *access.Cache  // of the store
	bounds       access.Bounds
	axra         *axraClient
	formTargets  []string       // where forms of pages may lead, for their Content-Security-Policy
	keyring      *token.Keyring // of the store
	client       *session.Client
	checkouts    *session.Limiter
	claims       *session.Limiter
	verifier     webhook.Verifier
	credentials  [][]byte    // never kept with a refused request
	keepsRefused atomic.Bool // some webhook does
	siteURL      string
	endpoint     string
	passes       map[string]*gate.Product
	releases     []func()
	stop         context.CancelFunc
	stopped      chan struct{}
	ctx          caddy.Context

	gatesMu  sync.Mutex
	gates    atomic.Pointer[[]*Handler] // read by matchers on every request
	expected []string                   // passes that matchers name
	started  atomic.Bool

	announcer *announcer // of events

	// What could be written for every request is written once a minute.
	complaints
	complainUnsigned  rate.Sometimes // anybody can cause it
	complainSignature rate.Sometimes // a wrong secret or scheme, most likely
	complainMalformed rate.Sometimes
	complainPrice     rate.Sometimes
}

// SignatureConfig says how webhooks are signed: with an HMAC-SHA256, in hex or base64,
// with or without `sha256=` before it. `caddy axra webhook inspect` finds out from a
// captured request what to write here.
type SignatureConfig struct {
	// Header is the name of the header that carries the signature. The default is
	// `X-Axra-Signature`, for the scheme `standard_webhooks` it is
	// `Webhook-Signature`.
	Header string `json:"header,omitempty"`

	// Scheme is what is signed, and how the header is written.
	//
	//   - `body` (the default): the raw body.
	//   - `timestamp.body`: the value of the timestamp header, a dot and the raw body.
	//   - `t,v1`: the header is `t=<unix time>,v1=<signature>`; signed are the time, a
	//     dot and the raw body. There may be several `v1`; other fields are ignored.
	//   - `standard_webhooks`: as [Standard Webhooks](https://www.standardwebhooks.com)
	//     have it. The header is `v1,<signature>`, several of them separated by spaces,
	//     and other versions are ignored; signed are the value of the id header, a dot,
	//     that of the timestamp header, a dot and the raw body. A secret that begins
	//     with `whsec_` may be the key as it is written or by what follows in base64.
	Scheme string `json:"scheme,omitempty"`

	// TimestampHeader is the name of the timestamp header for the schemes
	// `timestamp.body` (by default `X-Axra-Timestamp`) and `standard_webhooks` (by
	// default `Webhook-Timestamp`).
	TimestampHeader string `json:"timestamp_header,omitempty"`

	// IDHeader is the name of the header with the message's id, for the scheme
	// `standard_webhooks`. The default is `Webhook-Id`.
	IDHeader string `json:"id_header,omitempty"`

	// SecretEncoding is `hex` or `base64` where the key is not the secret as it is
	// written but what it decodes to; with `base64` a `whsec_` before it is left out.
	// It holds for all webhook secrets. By default the secret is the key.
	SecretEncoding string `json:"secret_encoding,omitempty"`
}

// LimitsConfig bounds how many checkout sessions are started. A visitor beyond a
// limit sees a page that says when to try again.
type LimitsConfig struct {
	// PerClient bounds one client, by Caddy's client IP (so `trusted_proxies`
	// applies); an IPv6 client is its /64 network. The default is 30 per 10m.
	PerClient *Rate `json:"per_client,omitempty"`

	// Total bounds all clients together. The default is 600 per 1m.
	Total *Rate `json:"total,omitempty"`
}

// Rate is a number of events within a time.
type Rate struct {
	// Events is how many there may be.
	Events int `json:"events"`

	// Per is the time within which there may be so many.
	Per caddy.Duration `json:"per"`
}

// stopTimeout is how long the end of a configuration waits for its background work.
const stopTimeout = time.Second

// Defaults of the app.
const (
	DefaultRecheck = 5 * time.Second
	DefaultGrace   = 10 * time.Minute
)

// Provision resolves the secrets and acquires what outlives a reload. It makes
// no network call and writes nothing, since `caddy validate` runs it too.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	for _, sometimes := range []*rate.Sometimes{
		&a.complainUnsigned, &a.complainSignature, &a.complainMalformed,
	} {
		sometimes.First, sometimes.Interval = 1, time.Minute
	}
	a.complainPrice.First, a.complainPrice.Interval = 20, time.Minute // each file may have a price of its own
	if a.Recheck < 0 || a.Grace < 0 {
		return errors.New("axra: recheck and grace must be greater than zero: write for example `recheck 5s`")
	}
	if a.Recheck == 0 {
		a.Recheck = caddy.Duration(DefaultRecheck)
	}
	if a.Grace == 0 {
		a.Grace = caddy.Duration(DefaultGrace)
	}
	a.bounds = access.Bounds{Recheck: time.Duration(a.Recheck), Grace: time.Duration(a.Grace)}
	if a.Keep == 0 {
		a.Keep = caddy.Duration(DefaultKeep)
	}
	if err := checkKeep(a.Keep); err != nil {
		return fmt.Errorf("axra: %w", err)
	}
	if err := a.provisionPasses(); err != nil {
		return err
	}
	secrets, err := a.resolveSecrets()
	if err != nil {
		return err
	}
	if a.siteURL, err = resolveSiteURL(a.SiteURL); err != nil {
		return err
	}
	if err := a.provisionVerifier(secrets); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("axra: registering metrics: %w", err)
	}
	if err := a.provisionEvents(ctx); err != nil {
		return err
	}
	return a.provisionShared(secrets)
}

// definedPasses lists the app's passes for an error.
func (a *App) definedPasses() string {
	if len(a.passes) == 0 {
		return ""
	}
	return " (there are " + strings.Join(slices.Sorted(maps.Keys(a.passes)), ", ") + ")"
}

func (a *App) provisionPasses() error {
	a.passes = make(map[string]*gate.Product, len(a.Passes))
	for name, offer := range a.Passes {
		if name == "" || offer == nil {
			return errors.New("axra: a pass needs a name and a price: write `pass month { price 5.00 usd }`")
		}
		product, err := gate.NewProduct(name, *offer)
		if err != nil {
			return fmt.Errorf("axra: pass %q: %w", name, err)
		}
		a.passes[name] = product
	}
	return nil
}

func (a *App) provisionVerifier(s secrets) error {
	conf := SignatureConfig{}
	if a.Signature != nil {
		conf = *a.Signature
	}
	var err error
	a.verifier, err = conf.verifier(s.webhook)
	if err != nil {
		return fmt.Errorf("axra: signature: %w", err)
	}
	a.credentials = slices.Concat(s.webhook, [][]byte{[]byte(s.key), []byte(s.secret)})
	return nil
}

// verifier checks signatures under the secrets.
func (c SignatureConfig) verifier(secrets [][]byte) (webhook.Verifier, error) {
	return webhook.Verifier{
		Secrets: secrets, Header: c.Header, Scheme: c.Scheme, TimestampHeader: c.TimestampHeader,
		IDHeader: c.IDHeader, SecretEncoding: c.SecretEncoding,
	}.Prepare()
}

func (a *App) provisionShared(s secrets) error {
	if err := a.provisionAlgorithm(); err != nil {
		return err
	}
	perClient, total, err := a.Limits.rates()
	if err != nil {
		return err
	}
	where, err := a.Database.location()
	if err != nil {
		return err
	}
	a.store = acquire(a, "store", func() *store { return newStore(where) }, where)
	a.ledger, a.access, a.keyring = a.store.ledger, a.store.access, a.store.keyring
	a.checkouts = a.limiter("", perClient, total, where)
	a.claims = a.limiter(limitClaims, session.DefaultPerClient, session.DefaultTotal, where)
	if s.key == "" {
		return nil // a node that only receives webhooks
	}
	endpoint, hosts, err := resolveEndpoint(a.Endpoint, s.key, s.secret, a.CheckoutHosts)
	if err != nil {
		return err
	}
	a.endpoint, a.formTargets = endpoint, hosts.Sources()
	a.axra = acquire(a, "client", func() *axraClient { return newAxraClient(endpoint, s, hosts) },
		endpoint, s.key, s.secret, hosts)
	a.client = a.axra.Client
	return nil
}

func (l *LimitsConfig) rates() (perClient, total session.Rate, err error) {
	perClient, total = session.DefaultPerClient, session.DefaultTotal
	if l == nil {
		return perClient, total, nil
	}
	for _, each := range []struct {
		name string
		from *Rate
		into *session.Rate
	}{{"per_client", l.PerClient, &perClient}, {"total", l.Total, &total}} {
		if each.from == nil {
			continue
		}
		if each.from.Events < 1 || each.from.Per <= 0 {
			return perClient, total, fmt.Errorf("axra: limit %s must allow at least one session within a time greater than zero", each.name)
		}
		*each.into = session.Rate{Events: each.from.Events, Per: time.Duration(each.from.Per)}
	}
	return perClient, total, nil
}

// register makes a gate known, for the checks that Start makes.
func (a *App) register(gate *Handler) {
	a.gatesMu.Lock()
	defer a.gatesMu.Unlock()
	gates := append(slices.Clone(a.allGates()), gate)
	a.gates.Store(&gates)
}

func (a *App) allGates() []*Handler {
	if gates := a.gates.Load(); gates != nil {
		return *gates
	}
	return nil
}

// expect makes Start look for gates that sell the passes. Later it does nothing: an
// expression with a placeholder makes a matcher for each request.
func (a *App) expect(passes []string) {
	if a.started.Load() {
		return
	}
	a.gatesMu.Lock()
	defer a.gatesMu.Unlock()
	a.expected = append(a.expected, passes...)
}

// Start checks the gates against the sites they stand in, and loads the signing
// keys, creating them on the very first start.
func (a *App) Start() error {
	if err := a.checkGates(); err != nil {
		return err
	}
	if !a.keepsRefused.Load() {
		a.store.rejected.Clear()
	}
	a.started.Store(true)
	for _, h := range a.allGates() {
		beginSteps(h.gate.Products)
	}
	if a.axra != nil {
		a.axra.logger.Store(a.logger)
	}
	if err := a.store.mayReplace(a.ctx); err != nil {
		return err
	}
	a.store.start(a.logger)
	ctx, cancel := context.WithCancel(a.ctx)
	a.stop = cancel
	a.stopped = make(chan struct{})
	go func() {
		defer close(a.stopped)
		var work sync.WaitGroup
		defer work.Wait()
		work.Go(func() { a.store.ensureKeys(ctx, a.SigningAlgorithm) })
		work.Go(func() { a.sweepRegularly(ctx) })
	}()
	return nil
}

// Stop ends the app's background work. The ledger stays open: requests of the old
// configuration are still being answered.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	var waits sync.WaitGroup // at once: each may take its time in vain
	waits.Go(a.announcer.flush)
	waits.Go(a.awaitWork)
	waits.Wait()
	return nil
}

// awaitWork waits for the background work to end, for stopTimeout at most: a database
// that hangs must not hold up a reload.
func (a *App) awaitWork() {
	select {
	case <-a.stopped:
	case <-time.After(stopTimeout):
	}
}

// Cleanup releases what Provision acquired.
func (a *App) Cleanup() error {
	for _, release := range a.releases {
		release()
	}
	a.releases = nil
	return nil
}

// keysReady reports whether the signing keys are known. It waits for them in the first moments of a process.
func (a *App) keysReady(ctx context.Context) bool {
	select {
	case <-a.keyring.Ready():
		return true
	default:
	}
	timer := time.NewTimer(keysWait - now().Sub(a.store.made))
	defer timer.Stop()
	select {
	case <-a.keyring.Ready():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// keysWait is how long requests wait for the keys of a process that has just started.
const keysWait = 2 * time.Second

// pool holds what outlives a reload, by kind and by a hash of the configuration
// that it depends on.
var pool = caddy.NewUsagePool()

// acquire takes a value from the pool, making it if it is not there, until the
// app is cleaned up.
func acquire[T caddy.Destructor](a *App, kind string, construct func() T, dependsOn ...any) T {
	hash := sha256.New()
	for _, part := range dependsOn {
		fmt.Fprintf(hash, "%#v\n", part)
	}
	key := kind + ":" + hex.EncodeToString(hash.Sum(nil))
	value, _, _ := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return construct(), nil })
	a.releases = append(a.releases, func() { _, _ = pool.Delete(key) })
	return value.(T) //nolint:forcetypeassert // the kind is part of the key
}

// limiter returns a limiter that outlives reloads, and counts its refusals under a name; empty: by the bound that refused.
func (a *App) limiter(name string, perClient, total session.Rate, of any) *session.Limiter {
	return acquire(a, "limiter", func() *pooled[*session.Limiter] {
		return &pooled[*session.Limiter]{value: newLimiter(perClient, total, name)}
	}, name, perClient, total, of).value
}

// pooled is a pool value that needs no clean-up.
type pooled[T any] struct{ value T }

// Destruct does nothing.
func (*pooled[T]) Destruct() error { return nil }

// axraClient is a session.Client with its connections.
type axraClient struct {
	*session.Client
	transport *http.Transport
	logger    atomic.Pointer[zap.Logger] // of the configuration that was started last
	suspended atomic.Bool
}

// Destruct closes idle connections.
func (c *axraClient) Destruct() error {
	c.transport.CloseIdleConnections()
	return nil
}

// anySuspended is 1 where calls of some client in the pool are suspended. It looks at those
// that there are, since requests of an old configuration may go on calling after its
// client has left the pool.
func anySuspended() float64 {
	found := 0.0
	pool.Range(func(_, value any) bool {
		if client, ok := value.(*axraClient); ok && client.suspended.Load() {
			found = 1
		}
		return found == 0
	})
	return found
}

// oldestFeed is the time, in seconds, since a change feed was last read; 0 without a ledger.
func oldestFeed() float64 {
	oldest := 0.0
	pool.Range(func(_, value any) bool {
		if s, ok := value.(*store); ok && s.started.Load() {
			polled := s.ledger.PolledAt()
			if polled.IsZero() {
				polled = s.made // it could never be opened
			}
			oldest = max(oldest, now().Sub(polled).Seconds())
		}
		return true
	})
	return oldest
}

// countRemembered is how many verified tokens this process remembers.
func countRemembered() float64 {
	var known []*store
	pool.Range(func(_, value any) bool { // which holds a lock for which a reload would wait
		if s, ok := value.(*store); ok {
			known = append(known, s)
		}
		return true
	})
	total := 0
	for _, s := range known {
		total += s.access.Size()
	}
	return float64(total)
}

// onBreaker tells that calls are suspended, or made again.
func (c *axraClient) onBreaker(open bool) {
	if c.suspended.Swap(open) == open {
		return
	}
	logger := c.logger.Load()
	if logger == nil {
		logger = zap.NewNop()
	}
	if open {
		logger.Warn("calls of Axra's API are suspended after repeated failures; it is tried again every ten seconds")
		return
	}
	logger.Info("calls of Axra's API are made again")
}

func newAxraClient(endpoint string, s secrets, hosts session.CheckoutHosts) *axraClient {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 8,
	}
	transport.MaxResponseHeaderBytes = 64 << 10
	doer := &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect would carry our credentials along
		},
	}
	client := &axraClient{transport: transport}
	client.Client = session.NewClient(session.ClientConfig{
		HTTP: doer, Endpoint: endpoint, Key: s.key, Secret: s.secret, CheckoutHosts: hosts, Now: now,
		OnBreaker: client.onBreaker, OnCall: countCall,
	})
	return client
}

// appFrom loads the app for a handler and says what is missing if it is not
// configured. A handler loads its own modules before: in Caddy 2.11 those that it loads
// after an app take the app's place in the app's own context, whose name is the origin of
// its events.
func appFrom(ctx caddy.Context, directive string) (*App, error) {
	module, err := ctx.AppIfConfigured("axra")
	if err != nil {
		if errors.Is(err, caddy.ErrNotConfigured) {
			return nil, fmt.Errorf("%s needs the axra app: add the global option axra, with `api_key {env.AXRA_API_KEY}` and `webhook_secret {env.AXRA_WEBHOOK_SECRET}` in its block", directive)
		}
		return nil, err
	}
	app, ok := module.(*App)
	if !ok {
		return nil, fmt.Errorf("app axra is a %T", module)
	}
	return app, nil
}

// httpApp returns the HTTP app, nil if there is none.
func (a *App) httpApp() *caddyhttp.App {
	module, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := module.(*caddyhttp.App)
	return app
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
