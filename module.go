// Package paywall takes money for a route, straight from a Caddyfile: a visitor who has not paid is sent to a checkout
// session of Axra, and gets in once Axra's signed webhook has confirmed the payment.
package paywall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/admission"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/events"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/loglimit"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// App holds what all gates and webhooks of a configuration share: the credentials of the Axra business, the signing
// keys, the ledger of payments and the limits. In a Caddyfile it is the global option `axra`.
type App struct {
	// APIKey is the API key of the Axra business, `bk_live_…` or `bk_test_…`. It must be a placeholder such as
	// `{env.AXRA_API_KEY}` or `{file./run/secrets/axra_key}`, so that the key itself never becomes part of the
	// configuration. It is required by gates.
	APIKey string `json:"api_key,omitempty"`

	// APISecret is the API secret, `bs_live_…` or `bs_test_…`, as a placeholder. If it is set, key and secret are
	// exchanged for access tokens; otherwise the key alone authenticates calls.
	APISecret string `json:"api_secret,omitempty"`

	// WebhookSecrets are the secrets that may sign webhooks, as placeholders. During a rotation there may be several.
	// The default is the API secret, since Axra documents the two as the same.
	WebhookSecrets []string `json:"webhook_secrets,omitempty"`

	// Endpoint is the base URL of Axra's API. The default follows from the API key: `https://api.useaxra.com/api/v1`
	// for live keys, `https://staging-api.useaxra.com/api/v1` for test keys. Plain http is for loopback addresses only.
	Endpoint string `json:"endpoint,omitempty"`

	// CheckoutHosts are the hosts that visitors may be sent to for checkout. A leading `*.` means all subdomains. The
	// default is `pay.useaxra.com` for Axra's production endpoint, `*.useaxra.com` for its sandbox, and the endpoint's
	// own host for any other.
	CheckoutHosts []string `json:"checkout_hosts,omitempty"`

	// SiteURL is the public address, such as `https://example.com`, of sites without a host name in the configuration.
	// Axra sends visitors back to it. If a proxy in front serves a site under an address other than its host name, give
	// its gates their own `site_url`.
	SiteURL string `json:"site_url,omitempty"`

	// Database is where purchases, payments and signing keys are kept.
	Database settings.Database `json:"database,omitzero"`

	// Signature says how webhooks are signed, which Axra does not document.
	Signature settings.Signature `json:"signature,omitzero"`

	// SigningAlgorithm is that of access tokens: `HS256` (the default) or `EdDSA`, whose public keys `axra_jwks`
	// publishes for applications behind the gate. Existing tokens stay valid when it is changed.
	SigningAlgorithm string `json:"signing_algorithm,omitempty"`

	// Recheck is how long a node may go without reading the ledger's change feed, which it normally reads once a
	// second. After that nothing is sold, and known buyers are served for Grace. The default is 5s.
	Recheck caddy.Duration `json:"recheck,omitempty"`

	// Grace is how long known buyers are served while the ledger cannot be read. The default is 10m.
	Grace caddy.Duration `json:"grace,omitempty"`

	// DownloadWindow is how long a counted download may be resumed and repeated. The default is 24h.
	DownloadWindow caddy.Duration `json:"download_window,omitempty"`

	// Keep is how long purchases are kept after access has ended, for disputes and accounting: at least 60d. Negative
	// means no expiry. Purchases without expiry are always kept. The default is 540d.
	Keep caddy.Duration `json:"keep,omitempty"`

	// Passes are products by name. One payment opens every gate of its site that lists the pass.
	Passes map[string]gate.ProductConfig `json:"passes,omitempty"`

	// Limits bound how many checkout sessions are started.
	Limits settings.Limits `json:"limits,omitzero"`

	ctx      caddy.Context
	logger   *zap.Logger
	limit    *loglimit.Limiter
	clock    gate.Clock // nil: the system's
	now      func() time.Time
	settings resolved
	shared   shared
	gates    gateList
	events   *events.Queue
	recorder *payments.Recorder
}

// resolved is the configuration with its placeholders replaced.
type resolved struct {
	siteURL        string // an origin
	passes         map[string]*gate.Product
	bounds         access.Bounds
	verifier       webhook.Verifier
	webhookSecrets [][]byte // as configured; the verifier has them decoded
	credentials    [][]byte // never kept with a rejected webhook
	endpoint       string   // of Axra's API
	formTargets    []string // for the Content-Security-Policy of pages with forms
}

// shared is what survives a reload.
type shared struct {
	metrics   *metrics
	node      *node.Node
	progress  *payments.Progress
	rejected  *webhook.Rejected // acquired by webhooks that keep rejected requests
	checkouts *session.Limiter  // of checkout sessions
	claims    *session.Limiter
	client    *axraClient // nil: this process only receives webhooks
	releases  []func()
}

// How long purchases are kept after their access has ended.
const (
	defaultKeep = 540 * 24 * time.Hour
	minKeep     = 60 * 24 * time.Hour // late events and disputes are still possible
)

func checkKeep(keep caddy.Duration) error {
	if keep > 0 && time.Duration(keep) < minKeep {
		return fmt.Errorf("keep %s is too short: late events and disputes are still possible: "+
			"write `keep 540d`, at least `keep 60d`, or `keep forever`", time.Duration(keep))
	}
	return nil
}

// Provision resolves the secrets and acquires what survives a reload. It makes no network call and writes nothing,
// since `caddy validate` runs it too.
func (a *App) Provision(ctx caddy.Context) error {
	a.now = a.clock.Now
	a.ctx, a.logger, a.limit = ctx, ctx.Logger(), loglimit.New(a.now)
	a.shared.rejected = new(webhook.Rejected)
	var err error
	if a.events, err = events.New(ctx, a.limit); err == nil {
		err = a.provision()
	}
	if err != nil {
		return fmt.Errorf("axra: %w", err)
	}
	a.recorder = &payments.Recorder{
		Ledger: a.shared.node.Ledger, Installation: a.shared.node.Installation, Progress: a.shared.progress,
		Metrics: a.shared.metrics, Publish: a.events.Publish, Keep: time.Duration(a.Keep), Now: a.now, Logger: a.logger,
	}
	return nil
}

func (a *App) provision() error {
	if min(a.Recheck, a.Grace, a.DownloadWindow) < 0 {
		return errors.New("recheck, grace and download_window must be greater than zero: write for example `recheck 5s`")
	}
	a.Recheck = cmp.Or(a.Recheck, caddy.Duration(5*time.Second))
	a.Grace = cmp.Or(a.Grace, caddy.Duration(10*time.Minute))
	a.DownloadWindow = cmp.Or(a.DownloadWindow, caddy.Duration(admission.DefaultDownloadWindow))
	a.Keep = cmp.Or(a.Keep, caddy.Duration(defaultKeep))
	a.SigningAlgorithm = cmp.Or(a.SigningAlgorithm, token.HS256)
	if a.SigningAlgorithm != token.HS256 && a.SigningAlgorithm != token.EdDSA {
		return fmt.Errorf("signing_algorithm %q is unknown: write %s or %s", a.SigningAlgorithm, token.HS256, token.EdDSA)
	}
	a.settings.bounds = access.Bounds{Recheck: time.Duration(a.Recheck), Grace: time.Duration(a.Grace)}
	a.settings.passes = make(map[string]*gate.Product, len(a.Passes))
	for name, config := range a.Passes {
		product, err := gate.NewProduct(name, config)
		if err != nil {
			return fmt.Errorf("pass %q: %w", name, err)
		}
		a.settings.passes[name] = product
	}
	secrets, secretsErr := settings.ResolveSecrets(a.APIKey, a.APISecret, a.WebhookSecrets)
	siteURL, siteErr := settings.SiteURL(a.SiteURL)
	if err := cmp.Or(checkKeep(a.Keep), secretsErr, siteErr); err != nil {
		return err
	}
	verifier, err := a.Signature.Verifier(secrets.Webhook)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	a.settings.siteURL, a.settings.verifier, a.settings.webhookSecrets = siteURL, verifier, secrets.Webhook
	a.settings.credentials = append([][]byte{[]byte(secrets.Key), []byte(secrets.Secret)}, secrets.Webhook...)
	return a.provisionShared(secrets)
}

// provisionShared acquires what survives a reload. It opens no database.
func (a *App) provisionShared(s settings.Secrets) error {
	perClient, total, limitsErr := a.Limits.Rates()
	path, url, databaseErr := a.Database.Location()
	if err := cmp.Or(limitsErr, databaseErr); err != nil {
		return err
	}
	metrics := acquire(a, "metrics", newMetrics)
	if err := metrics.register(a.ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	location := node.Location{Path: path, URL: url}
	a.shared.metrics = metrics
	a.shared.node = acquire(a, "node", func() *node.Node {
		return node.New(node.Options{Location: location, Now: a.now, OnError: metrics.CountLedgerError})
	}, location)
	a.shared.progress = acquire(a, "progress", func() *payments.Progress { return payments.NewProgress(a.now) }, location)
	a.shared.checkouts = a.limiter("", perClient, total, location)
	a.shared.claims = a.limiter(checkout.LimitClaims, session.DefaultPerClient, session.DefaultTotal, location)
	if s.Key == "" {
		return nil // this process only receives webhooks
	}
	endpoint, hosts, err := settings.Endpoint(a.Endpoint, s.Key, s.Secret, a.CheckoutHosts)
	if err != nil {
		return err
	}
	a.settings.endpoint, a.settings.formTargets = endpoint, hosts.Sources()
	a.shared.client = acquire(a, "client", func() *axraClient {
		return newAxraClient(session.ClientConfig{
			Endpoint: endpoint, Key: s.Key, Secret: s.Secret, CheckoutHosts: hosts, Now: a.now, OnCall: metrics.CountCall,
		})
	}, endpoint, s.Key, s.Secret, hosts)
	return nil
}

// limiter returns a limiter that survives reloads. It counts refusals under the name, or under the bound that was hit
// if the name is empty.
func (a *App) limiter(name string, perClient, total session.Rate, dependsOn any) *session.Limiter {
	metrics := a.shared.metrics
	return acquire(a, "limiter", func() *session.Limiter {
		limiter := session.NewLimiter(perClient, total, a.now)
		limiter.OnLimit = func(by session.Bound) { metrics.CountLimit(cmp.Or(name, string(by))) }
		return limiter
	}, name, perClient, total, dependsOn)
}

// Start checks the gates against their sites, opens the ledger, and loads the signing keys, creating them on the very
// first start.
func (a *App) Start() error {
	if err := a.checkGates(); err != nil {
		return err
	}
	a.warnAboutRoutes()
	for _, h := range a.gates.all {
		for _, product := range h.gate.Products {
			a.shared.metrics.StartFunnel(product.Name)
		}
	}
	if err := a.checkDatabase(); err != nil {
		return err
	}
	a.shared.node.Start(a.logger)
	// Caddy cancels the context after Stop. Neither is waited for: a database that hangs must not hold up a reload.
	go a.shared.node.EnsureKeys(a.ctx, a.SigningAlgorithm)
	go a.sweepRegularly(a.ctx)
	return nil
}

// checkDatabase rejects a new database in place of one in use, if buyers would lose their access by it.
func (a *App) checkDatabase() error {
	if a.shared.node.IsStarted() {
		return nil // it is the one in use
	}
	for _, running := range inPool[*node.Node]() {
		if !running.IsStarted() {
			continue
		}
		if err := a.shared.node.CheckReplaces(a.ctx, running); err != nil {
			return err
		}
	}
	return nil
}

// Stop emits the queued events. The ledger stays open: requests of the old configuration are still being answered.
func (a *App) Stop() error {
	a.events.Flush()
	return nil
}

// sweepRegularly deletes old purchases, a few minutes after the start and then once a day. Several nodes may sweep at
// the same time.
func (a *App) sweepRegularly(ctx context.Context) {
	if a.Keep < 0 {
		return
	}
	for wait := 10 * time.Minute; ; wait = 24 * time.Hour {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // only spreads the nodes
		}
		if _, err := a.operations().Sweep(ctx, struct{}{}); err != nil && ctx.Err() == nil && !errors.Is(err, admin.ErrMaintenance) {
			a.logger.Error("old purchases could not be swept; the next sweep will try again", zap.Error(err))
		}
	}
}

// Cleanup releases what Provision acquired.
func (a *App) Cleanup() error {
	for _, release := range a.shared.releases {
		release()
	}
	a.shared.releases = nil
	return nil
}

// appFrom loads the app for a handler; the error says what to add if it is not configured. Handlers must load their own
// modules first: in Caddy 2.11, modules loaded after an app replace it as the origin of its events.
func appFrom(ctx caddy.Context, directive string) (*App, error) {
	module, err := ctx.AppIfConfigured("axra")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("%s needs the axra app: add the global option axra, with `api_key {env.AXRA_API_KEY}` and "+
			"`webhook_secret {env.AXRA_WEBHOOK_SECRET}` in its block", directive)
	}
	if err != nil {
		return nil, err
	}
	return module.(*App), nil //nolint:forcetypeassert // this package registers it
}

// httpServers returns the servers of the HTTP app, if there is one.
func (a *App) httpServers() map[string]*caddyhttp.Server {
	module, err := a.ctx.AppIfConfigured("http")
	if app, ok := module.(*caddyhttp.App); ok && err == nil {
		return app.Servers
	}
	return nil
}

// checkGates rejects gates whose public address is unknown, and gates of one site that would sell different products
// under one name.
func (a *App) checkGates() error {
	for _, name := range a.gates.expected {
		if a.settings.passes[name] == nil && !slices.ContainsFunc(a.gates.all, func(h *Handler) bool { return h.gate.Product(name) != nil }) {
			return fmt.Errorf("axra_paid: no gate sells a pass %q, and none of that name is defined in the global option axra: correct the name", name)
		}
	}
	sold := make(map[string]*Handler)
	for _, h := range a.gates.all {
		isFound := h.siteURL != "" || a.settings.siteURL != ""
		for _, server := range a.httpServers() {
			for _, hosts := range h.gate.HostsOn(server) {
				isFound = true
				if err := h.checkSite(hosts, sold); err != nil {
					return err
				}
			}
		}
		if !isFound {
			return fmt.Errorf("axra_paywall: gate %q is in a site whose address cannot be found: "+
				"add `site_url https://example.com` to the gate or to the global option axra", h.label())
		}
	}
	return nil
}

func (h *Handler) checkSite(hosts []string, sold map[string]*Handler) error {
	if h.siteURL != "" || len(hosts) == 0 {
		hosts = []string{cmp.Or(h.siteURL, h.app.settings.siteURL)}
	}
	if hosts[0] == "" {
		return fmt.Errorf("axra_paywall: gate %q is in a site without a host name, so visitors could not be sent back to it: "+
			"give the site block its host name, or add `site_url https://example.com` to the gate or to the global option axra", h.label())
	}
	if !h.sellsItself() {
		return nil // an app's pass is the same in every gate
	}
	for _, host := range hosts {
		key := gate.HostOf(host) + "\n" + h.Pass
		other := sold[key]
		if other != nil && other != h && (!other.isNamed || !h.isNamed || !other.gate.Products[0].Same(h.gate.Products[0])) {
			return fmt.Errorf("axra_paywall: two gates of %s would sell under the same name %q, "+
				"so a payment for one would open the other: add `pass NAME` to each, with a name of its own, or with the same name, price, access, per_path, downloads and devices if that is meant", host, h.Pass)
		}
		sold[key] = h
	}
	return nil
}

// gateList collects what handlers and matchers register while they are provisioned, one after the other.
type gateList struct {
	all      []*Handler
	expected []string // passes that matchers name
}
