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
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// giveRequest asks for access without a payment.
type giveRequest struct {
	// URL is the page at which it is to be opened; its origin is the site.
	URL string `json:"url"`
	// Pass may be left out where the site sells one only.
	Pass string `json:"pass,omitempty"`
	// Key is what is given of a pass that is sold by a key. Of one that is sold by path it
	// is the path of URL.
	Key string `json:"key,omitempty"`
	// Like is a purchase whose terms are given again, in place of Pass and Key.
	Like string `json:"like,omitempty"`
	// For is how long access lasts, such as 30d, or forever; "" is as it is sold.
	For string `json:"for,omitempty"`
	// Devices is in how many browsers it may be opened; without it, in one.
	Devices *int   `json:"devices,omitempty"`
	Note    string `json:"note,omitempty"`
}

// opened is what an operator gets to pass on.
type opened struct {
	Purchase string    `json:"purchase"`
	Link     string    `json:"link"`
	Expires  time.Time `json:"link_expires"`
}

func (a *App) adminGive(w http.ResponseWriter, r *http.Request) error {
	var asked giveRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := checkNote(asked.Note); err != nil {
		return err
	}
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	at, err := a.locate(asked.URL)
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	given, err := a.termsToGive(r.Context(), asked, at)
	if err != nil {
		return err
	}
	purchase, err := a.ledger.Give(r.Context(), ledger.Payment{Terms: given, Note: asked.Note})
	if err != nil {
		return ledgerError(err)
	}
	a.logger.Info("access given by the operator", zap.String("purchase", reference(purchase.ID)), zap.String("pass", given.Pass))
	return a.tellLink(w, ledger.Holding{Purchase: purchase}, at, operatorLinkLife)
}

func (a *App) keysLoaded(ctx context.Context) error {
	if a.keysReady(ctx) {
		return nil
	}
	return adminError(http.StatusServiceUnavailable, errors.New("the signing keys are not loaded yet: is the ledger in trouble? See the log"))
}

// whereabouts is an address of a site, with the gates that cover it.
type whereabouts struct {
	site   site
	target string
	gates  []*Handler
}

// locate takes an address apart, if a gate covers it: a link to any other would open
// nothing.
func (a *App) locate(address string) (whereabouts, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return whereabouts{}, fmt.Errorf("%.200q is no address: write it in full, such as https://example.com/premium/", address)
	}
	origin := strings.ToLower(parsed.Scheme + "://" + parsed.Host)
	host, _ := splitHostPort(parsed.Host)
	at := whereabouts{site: newSite(origin), target: urlpath.OriginalTarget(parsed)}
	stands := false
	for _, gate := range a.allGates() {
		server := gate.serverOf(host, origin)
		if server == nil {
			continue
		}
		stands = true
		if found, err := gate.matcher.coverage(strangerAt(server, host, parsed)); err == nil && found == covered {
			at.gates = append(at.gates, gate)
		}
	}
	switch {
	case !stands:
		return at, fmt.Errorf("no gate stands at %s", origin)
	case parsed.Scheme == "http" && !isLoopback(host) && a.siteURL != origin && !slices.ContainsFunc(at.gates, func(h *Handler) bool { return h.siteURL == origin }):
		return at, fmt.Errorf("visitors come to %s by https: write the address so", host)
	case len(at.gates) == 0:
		return at, fmt.Errorf("no gate covers %s: name a page that is sold", parsed.Path)
	}
	return at, nil
}

// strangerAt is a stranger's request for the address.
func strangerAt(server *caddyhttp.Server, host string, address *url.URL) *http.Request {
	r := strangersRequest(server, http.MethodGet, host, address.Path)
	r.URL.RawQuery = address.RawQuery
	return r
}

// serverOf is the server on which the gate stands for a site, nil if it does not.
func (h *Handler) serverOf(host, origin string) *caddyhttp.Server {
	servers := h.app.httpApp()
	if servers == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(servers.Servers)) {
		server := servers.Servers[name]
		if len(findGate(h, server)) == 0 {
			continue
		}
		switch {
		case h.siteURL != "":
			if h.siteURL == origin {
				return server
			}
		case slices.ContainsFunc(h.addresses(server), func(a address) bool { return a.matches(host) }):
			return server
		case len(h.addresses(server)) == 0 && h.app.siteURL == origin:
			return server
		}
	}
	return nil
}

// termsToGive are those of another purchase, or of what a gate of the site sells.
func (a *App) termsToGive(ctx context.Context, asked giveRequest, at whereabouts) (terms.Terms, error) {
	given, err := a.sameTerms(ctx, asked, at)
	if asked.Like == "" {
		given, err = termsOnSale(asked, at)
	}
	if err != nil {
		return given, err
	}
	given.Installation, given.Site = a.keyring.Installation(), at.site.origin
	if asked.For != "" {
		if given.Access, err = parseAccess(asked.For); err != nil {
			return given, adminError(http.StatusBadRequest, err)
		}
	}
	given.Devices = 1
	if asked.Devices != nil {
		given.Devices = *asked.Devices
	}
	if given.Devices < 1 || given.Devices > maxDevices {
		return given, adminError(http.StatusBadRequest, fmt.Errorf("on 1 to %d devices", maxDevices))
	}
	return given, nil
}

// sameTerms are what another purchase opens, for as long as that has left.
func (a *App) sameTerms(ctx context.Context, asked giveRequest, at whereabouts) (terms.Terms, error) {
	if asked.Like == "" {
		return terms.Terms{}, nil
	}
	like, err := a.holdingNamed(ctx, asked.Like)
	if err != nil {
		return terms.Terms{}, ledgerError(err)
	}
	switch status := like.StatusAt(now()); {
	case like.Site != at.site.origin:
		return terms.Terms{}, adminError(http.StatusBadRequest, fmt.Errorf("that purchase is of %s", like.Site))
	case status != ledger.Active:
		return terms.Terms{}, adminError(http.StatusConflict, fmt.Errorf("that purchase opens nothing any more: it is %s", status))
	case !at.sells(like.Product):
		return terms.Terms{}, adminError(http.StatusBadRequest, fmt.Errorf("pass %q does not open that address", like.Product))
	}
	return terms.Terms{
		Pass: like.Product, Resource: like.Resource, Access: remaining(like.Purchase), Downloads: like.DownloadLimit,
	}, nil
}

// holdingNamed reads the purchase that an operator means, with the devices in use.
func (a *App) holdingNamed(ctx context.Context, text string) (ledger.Holding, error) {
	id, err := a.purchaseNamed(ctx, text)
	if err != nil {
		return ledger.Holding{}, err
	}
	return a.ledger.Holding(ctx, id)
}

func (at whereabouts) sells(pass string) bool {
	return slices.ContainsFunc(at.gates, func(h *Handler) bool { return h.saleOf(pass) != nil })
}

func termsOnSale(asked giveRequest, at whereabouts) (terms.Terms, error) {
	sale, err := at.saleToGive(asked.Pass)
	if err != nil {
		return terms.Terms{}, adminError(http.StatusBadRequest, err)
	}
	resource, err := resourceToGive(sale, asked.Key, at.target)
	if err != nil {
		return terms.Terms{}, adminError(http.StatusBadRequest, err)
	}
	return terms.Terms{Pass: sale.pass, Resource: resource, Access: sale.access, Downloads: sale.Downloads}, nil
}

// remaining is the access that a purchase has left, at least a moment of it.
func remaining(p ledger.Purchase) terms.Access {
	if p.EndsAt.IsZero() {
		return terms.Forever
	}
	return terms.Access(max(p.EndsAt.Sub(now()).Truncate(time.Second), time.Second))
}

// saleToGive finds a pass that opens the address, retired ones too.
func (at whereabouts) saleToGive(pass string) (*sale, error) {
	found := make(map[string]*sale)
	for _, gate := range at.gates {
		for _, each := range gate.sales {
			found[each.pass] = each
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if pass == "" && len(names) == 1 {
		pass = names[0]
	}
	if found[pass] == nil {
		return nil, fmt.Errorf("name one of the passes that open that address: %s", strings.Join(names, ", "))
	}
	return found[pass], nil
}

func resourceToGive(sale *sale, key, target string) (string, error) {
	if key != "" && (!sale.PerPath || sale.Key == "") {
		return "", fmt.Errorf("pass %q is not sold by a key", sale.pass)
	}
	switch {
	case !sale.PerPath:
		return terms.WholePass, nil
	case sale.Key == "":
		path, _, _ := strings.Cut(target, "?")
		unescaped, err := url.PathUnescape(path)
		if err != nil {
			return "", fmt.Errorf("the path of the address cannot be read: %w", err)
		}
		return bounded(urlpath.Page(unescaped)), nil
	case key == "":
		return "", fmt.Errorf("pass %q is sold by %s: say which one", sale.pass, sale.Key)
	default:
		return keyResource(key), nil
	}
}

// operatorLinkLife is how long an address works that an operator sends to somebody.
const operatorLinkLife = 7 * 24 * time.Hour

// linkRequest asks for an address that opens a purchase.
type linkRequest struct {
	ID string `json:"id"`
	// URL is the page to which it leads; "" is the path that was bought.
	URL string `json:"url,omitempty"`
	// Direct asks for a private address, which opens without a click and without a
	// cookie, as download managers need; the gate must have links on.
	Direct bool `json:"direct,omitempty"`
	// For is how long the address works; "" is 7 days.
	For string `json:"for,omitempty"`
}

// adminLink makes an address by which a purchase is opened in another browser, or a
// file of it fetched.
func (a *App) adminLink(w http.ResponseWriter, r *http.Request) error {
	var asked linkRequest
	if err := readAdmin(w, r, &asked); err != nil {
		return err
	}
	if err := a.keysLoaded(r.Context()); err != nil {
		return err
	}
	life, err := asked.life()
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	purchase, err := a.holdingNamed(r.Context(), asked.ID)
	if err != nil {
		return ledgerError(err)
	}
	if status := purchase.StatusAt(now()); status != ledger.Active {
		return adminError(http.StatusConflict, fmt.Errorf("that purchase opens nothing: it is %s", status))
	}
	at, err := a.locateFor(asked.URL, purchase.Purchase)
	switch inUse := len(purchase.DeviceIDs); {
	case err != nil:
		return adminError(http.StatusBadRequest, err)
	case asked.Direct:
		return a.tellPrivateAddress(w, purchase, at, life)
	case purchase.DeviceLimit > 0 && inUse >= purchase.DeviceLimit:
		return adminError(http.StatusConflict, fmt.Errorf("all %d devices of that purchase are in use: remove one with caddy axra remove-device", inUse))
	}
	return a.tellLink(w, purchase, at, life)
}

// life is how long the address works.
func (l linkRequest) life() (time.Duration, error) {
	if l.For == "" {
		return operatorLinkLife, nil
	}
	life, err := caddy.ParseDuration(l.For)
	if err != nil || life < time.Minute || life > token.LongestLife {
		return 0, fmt.Errorf("%.40q is no length of time from a minute to ten years: write 24h or 7d", l.For)
	}
	return life, nil
}

// locateFor takes an address of a purchase apart; "" is the path that was bought.
func (a *App) locateFor(address string, p ledger.Purchase) (whereabouts, error) {
	// A resource with a space may be a path with one, or two paths.
	if address == "" && strings.HasPrefix(p.Resource, "/") && !strings.Contains(p.Resource, " ") {
		address = p.Site + urlpath.EscapeTarget(p.Resource)
	}
	if address == "" {
		return whereabouts{}, fmt.Errorf("say at which page it is to be opened, such as %s/…: what was bought is %q", p.Site, p.Resource)
	}
	at, err := a.locate(address)
	switch {
	case err != nil:
		return at, err
	case at.site.origin != p.Site:
		return at, fmt.Errorf("that purchase is of %s", p.Site)
	case !at.sells(p.Product):
		return at, fmt.Errorf("pass %q does not open that address", p.Product)
	}
	return at, nil
}

// tellLink answers with the address that opens a purchase in another browser.
func (a *App) tellLink(w http.ResponseWriter, purchase ledger.Holding, at whereabouts, life time.Duration) error {
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.deviceAddress(at.site, purchase, at.target, expires)
	if err != nil {
		return err
	}
	a.logger.Info("link to a purchase made by the operator", zap.String("purchase", reference(purchase.ID)))
	return writeAdmin(w, opened{Purchase: purchase.ID, Link: address, Expires: expires})
}

func (a *App) tellPrivateAddress(w http.ResponseWriter, purchase ledger.Holding, at whereabouts, life time.Duration) error {
	honoured := slices.ContainsFunc(at.gates, func(h *Handler) bool {
		return h.Links != nil && h.saleOf(purchase.Product) != nil
	})
	if !honoured {
		return adminError(http.StatusConflict, fmt.Errorf("no gate there that sells %q has `links`: add it, or ask for a link that is not direct", purchase.Product))
	}
	expires := now().Add(life).UTC().Truncate(time.Second)
	address, err := a.privateAddress(at.site, token.Access{
		Purchase: purchase.ID, Pass: purchase.Product, Resource: purchase.Resource, Site: purchase.Site,
		Until: purchase.EndsAt, Downloads: purchase.DownloadLimit,
	}, at.target, expires)
	if err != nil {
		return err
	}
	a.logger.Info("link to a purchase made by the operator", zap.String("purchase", reference(purchase.ID)))
	return writeAdmin(w, opened{Purchase: purchase.ID, Link: address, Expires: expires})
}
