package paywall

// Everything in this file, and the embedded field of App, serves files that are still to be moved to packages of
// their own. It is deleted with the last of them.

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-axra/paywall/internal/access"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/internal/settings"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// clock is set by tests.
var clock atomic.Pointer[func() time.Time]

func now() time.Time {
	if c := clock.Load(); c != nil {
		return (*c)()
	}
	return time.Now()
}

// arrived is when Caddy received the request.
func arrived(r *http.Request) time.Time {
	if clock.Load() == nil {
		if at, ok := caddyhttp.GetVar(r.Context(), "start_time").(time.Time); ok {
			return at
		}
	}
	return now()
}

// unmoved are the fields of App under their names before.
type unmoved struct {
	gatesMu       *sync.Mutex
	expected      []string
	store         unmovedStore
	ledger        *ledger.Ledger
	access        *access.Cache
	keyring       *token.Keyring
	bounds        access.Bounds
	verifier      webhook.Verifier
	client        *session.Client
	limiter       *session.Limiter
	claims        *session.Limiter
	siteURL       string
	endpoint      string
	formTargets   []string
	passes        map[string]*sale
	complainPrice rate.Sometimes
}

type unmovedStore struct {
	node *node.Node
	at   struct{ path, url string }
}

func (s unmovedStore) sells(bounds access.Bounds) error { return s.node.CanSell(bounds) }

func (a *App) provisionUnmoved() {
	n := a.shared.node
	a.unmoved = unmoved{
		gatesMu: &a.gates.mu, expected: a.gates.expected, store: unmovedStore{node: n}, ledger: n.Ledger, access: n.Access, keyring: n.Keys,
		bounds: a.settings.bounds, verifier: a.settings.verifier, limiter: a.shared.limiter, claims: a.shared.claims,
		siteURL: a.settings.siteURL, endpoint: a.settings.endpoint, formTargets: a.settings.formTargets, passes: a.settings.passes,
		complainPrice: rate.Sometimes{First: 20, Interval: time.Minute}, // each file may have a price of its own
	}
	a.store.at.path, a.store.at.url = n.Location().Path, n.Location().URL
	if a.shared.client != nil {
		a.client = a.shared.client.Client
	}
}

func (a *App) complain(logger *zap.Logger, message string, fields ...zap.Field) {
	a.limit.Error(logger, message, fields...)
}

type stage = payments.Stage

const (
	failed     = payments.Failed
	processing = payments.Processing
)

func (a *App) stageOf(entry session.Pending) stage { return a.shared.progress.Of(entry) }

func (a *App) countUsed(purchaseID, pass string) { a.shared.metrics.CountUse(purchaseID, pass) }

// countShown counts that a person was shown what is on sale, or was sent to its
// checkout unasked. Who asks for a checkout has been shown before.
func (v *visit) countShown(offers ...offered) {
	if !isNavigation(v.r) {
		return
	}
	for _, o := range offers {
		countStep(o.pass, stepShown)
	}
}

func currentMetrics() *metrics {
	for _, m := range inPool[*metrics]() {
		return m
	}
	return newMetrics() // a test without an app
}

func countCheckout(outcome string) { currentMetrics().CountCheckout(outcome) }
func countStep(pass, step string)  { currentMetrics().CountStep(pass, step) }
func countLimit(limit string)      { currentMetrics().CountLimit(limit) }
func (graceCounter) Inc()          { currentMetrics().CountGrace() }

type graceCounter struct{}

var graceVerdicts graceCounter

// newLimiter counts its refusals under a name.
func newLimiter(perClient, total session.Rate, name string) *session.Limiter {
	limiter := session.NewLimiter(perClient, total, now)
	limiter.OnLimit = func(session.Bound) { countLimit(name) }
	return limiter
}

const (
	live    = settings.Live
	sandbox = settings.Sandbox
)

func resolveSecret(name, value string) (string, error)  { return settings.Secret(name, value) }
func secretIsPlaceholder(name, value string) error      { return settings.CheckPlaceholder(name, value) }
func resolveSiteURL(configured string) (string, error)  { return settings.SiteURL(configured) }
func isLoopback(host string) bool                       { return settings.IsLoopback(host) }
func splitHostPort(hostport string) (host, port string) { return settings.SplitHostPort(hostport) }
func endpointMode(host string) string                   { return settings.EndpointMode(host) }
func needsSecrecy(url string) bool                      { return settings.NeedsSecrecy(url) }

func keyMode(key, prefix string) string {
	if prefix == "bs_" {
		return settings.SecretMode(key)
	}
	return settings.KeyMode(key)
}

const openTimeout = 5 * time.Second

func (a *App) keysReady(ctx context.Context) bool { return a.shared.node.KeysReady(ctx) }

type secrets struct {
	key, secret string
	webhook     [][]byte
}

func (a *App) resolveSecrets() (secrets, error) {
	s, err := settings.ResolveSecrets(a.APIKey, a.APISecret, a.WebhookSecrets)
	return secrets{s.Key, s.Secret, s.Webhook}, err
}
