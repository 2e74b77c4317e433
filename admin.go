package paywall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/node"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

// adminAPI serves `/axra/…` on Caddy's admin endpoint, for `caddy axra` and the operator's own programs.
type adminAPI struct{}

// Routes returns the routes of the admin API.
func (api *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: admin.Base, Handler: caddy.AdminHandlerFunc(api.serve)}}
}

func (api *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	app, err := runningApp()
	if err != nil {
		return err
	}
	return app.operations().ServeHTTP(w, r)
}

// runningApp returns the app of the running configuration. The app in a router's own context
// may still be under construction when the first calls come.
func runningApp() (*App, error) {
	running := caddy.ActiveContext()
	if running.Context == nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("Caddy is starting")} //nolint:staticcheck // a name
	}
	module, err := running.AppIfConfigured("axra")
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("the running configuration has no global option axra")}
	}
	app, ok := module.(*App)
	if !ok {
		return nil, fmt.Errorf("app axra is a %T", module)
	}
	return app, nil
}

// operations returns what operators may do with the app.
func (a *App) operations() *admin.API {
	return &admin.API{
		Ledger: a.shared.node.Ledger, Keys: a.operatorKeys(), Gates: adminGates{a}, Webhooks: adminWebhooks{a},
		Maintenance: &a.shared.node.Maintenance, Keep: time.Duration(a.Keep), Logger: a.logger, Now: a.now, Reload: a.shared.node.Reload,
	}
}

func (a *App) operatorKeys() node.OperatorKeys {
	return node.OperatorKeys{Node: a.shared.node, Algorithm: a.SigningAlgorithm}
}

// adminWebhooks replays webhooks for operators.
type adminWebhooks struct{ app *App }

// Verify checks a signature.
func (o adminWebhooks) Verify(header http.Header, body []byte) error {
	return o.app.settings.verifier.Verify(header, body)
}

// Record takes a verified event.
func (o adminWebhooks) Record(ctx context.Context, event webhook.Event) (outcome string, err error) {
	recorded, err := o.app.recorder.Record(ctx, event)
	return string(recorded), err
}

// Rejected returns the webhooks that were kept.
func (o adminWebhooks) Rejected() []webhook.Captured { return o.app.shared.rejected.All() }

// adminGates tells operators which gate sells what, and signs links for them.
type adminGates struct{ app *App }

// KeyResource returns the resource that a purchase by key opens.
func (adminGates) KeyResource(key string) string { return gate.KeyResource(key) }

// Link returns an address that opens a purchase on one more device. A direct link opens the page to anyone who has it.
func (o adminGates) Link(page admin.Page, purchase ledger.Purchase, expires time.Time, direct bool) (string, error) {
	site := gate.NewSite(page.Site)
	if !direct {
		return checkout.DeviceLink(o.app.tokens(), site, purchase, page.Target, expires)
	}
	return o.app.tokens().PrivateAddress(site, token.Access{
		Purchase: purchase.ID, Pass: purchase.Product, Resource: purchase.Resource, Site: purchase.Site,
		Until: purchase.EndsAt, Downloads: purchase.DownloadLimit,
	}, page.Target, expires)
}

// Page finds the gates that cover an address.
func (o adminGates) Page(address string) (admin.Page, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return admin.Page{}, fmt.Errorf("%.200q is not an address: write it in full, such as https://example.com/premium/", address)
	}
	origin := strings.ToLower(parsed.Scheme + "://" + parsed.Host)
	host, _ := gate.SplitHostPort(parsed.Host)
	var gates []*Handler
	hasGate := false
	for _, h := range o.app.allGates() {
		server := h.serverOf(host, origin)
		if server == nil {
			continue
		}
		hasGate = true
		if found, err := h.gate.Matcher.Coverage(anonymousRequest(server, host, parsed)); err == nil && found == gate.Covered {
			gates = append(gates, h)
		}
	}
	page := admin.Page{Site: origin, Target: urlpath.OriginalTarget(parsed), Products: productsOf(gates)}
	switch {
	case !hasGate:
		return page, fmt.Errorf("no gate is configured at %s", origin)
	case parsed.Scheme == "http" && !gate.IsLoopback(host) && o.app.settings.siteURL != origin && !slices.ContainsFunc(gates, func(h *Handler) bool { return h.siteURL == origin }):
		return page, fmt.Errorf("visitors come to %s by https: write the address with https://", host)
	case len(gates) == 0:
		return page, fmt.Errorf("no gate covers %s: name a paid page", parsed.Path)
	}
	path, _, _ := strings.Cut(page.Target, "?")
	unescaped, err := url.PathUnescape(path)
	page.Resource = gate.ResourceOfPath(unescaped)
	return page, err
}

// productsOf lists the products of gates, including retired ones.
func productsOf(gates []*Handler) map[string]admin.Product {
	products := make(map[string]admin.Product)
	for _, h := range gates {
		for _, p := range h.gate.Products {
			products[p.Name] = admin.Product{
				Access: p.Access, Downloads: p.Config.Downloads, PerPath: p.Config.PerPath, Key: p.Config.Key,
				HasLinks: h.Links != nil || products[p.Name].HasLinks,
			}
		}
	}
	return products
}

// anonymousRequest returns a request for the address without cookies.
func anonymousRequest(server *caddyhttp.Server, host string, address *url.URL) *http.Request {
	r := preflight.NewRequest(server, http.MethodGet, host, address.Path)
	r.URL.RawQuery = address.RawQuery
	return r
}

// serverOf returns the server that has the gate in a site; nil if none has.
func (h *Handler) serverOf(host, origin string) *caddyhttp.Server {
	servers := h.app.httpApp()
	if servers == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(servers.Servers)) {
		server := servers.Servers[name]
		if len(h.gate.Sites.HostsOn(server)) == 0 {
			continue
		}
		switch {
		case h.siteURL != "":
			if h.siteURL == origin {
				return server
			}
		case slices.ContainsFunc(h.gate.Sites.Addresses(server), func(a gate.Address) bool { return a.Matches(host) }):
			return server
		case len(h.gate.Sites.Addresses(server)) == 0 && h.app.settings.siteURL == origin:
			return server
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ admin.Gates       = adminGates{}
	_ admin.Keys        = node.OperatorKeys{}
	_ admin.Webhooks    = adminWebhooks{}
)
