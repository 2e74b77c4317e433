package paywall

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/checkout"
	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/internal/preflight"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
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

// runningApp returns the app of the running configuration. The app in a router's own context may still be under
// construction when the first calls come.
func runningApp() (*App, error) {
	running := caddy.ActiveContext()
	if running.Context == nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("Caddy is starting")} //nolint:staticcheck // a name
	}
	module, err := running.AppIfConfigured("axra")
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("the running configuration has no global option axra")}
	}
	return module.(*App), nil //nolint:forcetypeassert // this package registers it
}

// operations returns what operators may do with the app.
func (a *App) operations() *admin.API {
	return &admin.API{
		Ledger: a.shared.node.Ledger, Keys: a.shared.node.Keys, SigningAlgorithm: a.SigningAlgorithm,
		Page: a.page, Link: a.link,
		InspectWebhook: func(captured webhook.Captured) webhook.Report {
			return webhook.Inspect(captured, a.settings.webhookSecrets, a.settings.verifier)
		},
		VerifyWebhook: a.settings.verifier.Verify, RecordEvent: a.recorder.Record, RejectedWebhooks: a.shared.rejected.All,
		Maintenance: &a.shared.node.Maintenance, Keep: time.Duration(a.Keep), Logger: a.logger, Now: a.now, Reload: a.shared.node.Reload,
	}
}

// link opens a purchase in one more browser.
func (a *App) link(page admin.Page, purchase ledger.Purchase, expires time.Time) (string, error) {
	return checkout.DeviceLink(a.tokens(), gate.NewSite(page.Site), purchase, page.Target, expires)
}

// page finds the gates that cover an address.
func (a *App) page(address string) (page admin.Page, err error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return page, fmt.Errorf("%.200q is not an address: write it in full, such as https://example.com/premium/", address)
	}
	page = admin.Page{
		Site: strings.ToLower(parsed.Scheme + "://" + parsed.Host), Target: urlpath.OriginalTarget(parsed),
		Resource: gate.ResourceOfPath(cmp.Or(parsed.Path, "/")), Products: make(map[string]*gate.Product),
	}
	for _, h := range a.gates.all {
		for _, server := range a.httpServers() {
			r := preflight.NewRequest(server, http.MethodGet, strings.ToLower(parsed.Host), parsed.Path)
			r.URL.RawQuery = parsed.RawQuery
			if site := h.gate.Site(r); site == nil || site.Origin != page.Site || len(h.gate.HostsOn(server)) == 0 {
				continue
			}
			if found, err := h.gate.Matcher.Coverage(r); err != nil || found != gate.Covered {
				continue
			}
			for _, p := range h.gate.Products { // retired ones too
				page.Products[p.Name] = p
			}
		}
	}
	if len(page.Products) == 0 {
		return page, fmt.Errorf("no gate covers %s at %s: write the address of a page that is sold as visitors see it", parsed.Path, page.Site)
	}
	return page, nil
}
