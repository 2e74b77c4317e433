package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Gates knows what is sold where, and signs links.
type Gates interface {
	// Page finds what opens an address; the error tells the operator what is wrong with it.
	Page(address string) (Page, error)
	// KeyResource is what a purchase by a key opens.
	KeyResource(key string) string
	// DeviceLink opens a purchase at a page, in one more browser.
	DeviceLink(page Page, purchase ledger.Purchase, expires time.Time) (string, error)
	// PrivateAddress opens a page by itself, to whoever has the link.
	PrivateAddress(page Page, purchase ledger.Purchase, expires time.Time) (string, error)
}

// Page is an address that gates cover.
type Page struct {
	Site     string             // its origin
	Target   string             // its path and query
	Resource string             // what a purchase by path opens there
	Products map[string]Product // that open it, by name; retired ones too
}

// Product is what a gate sells.
type Product struct {
	Access    terms.Access
	Downloads int
	PerPath   bool
	Key       string // placeholder, if it is sold by a key
	HasLinks  bool   // a gate that sells it honours private addresses
}

// MaxDevices is the largest number of devices of a purchase.
const MaxDevices = 1000

func (a *API) keysReady(ctx context.Context) error {
	if a.Keys.Ready(ctx) {
		return nil
	}
	return refuse(http.StatusServiceUnavailable, "the signing keys are not loaded yet: is the ledger in trouble? See the log")
}

func (a *API) give(ctx context.Context, request GiveRequest) (Link, error) {
	if err := checkNote(request.Note); err != nil {
		return Link{}, err
	}
	if err := a.keysReady(ctx); err != nil {
		return Link{}, err
	}
	page, err := a.Gates.Page(request.URL)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	given, err := a.termsToGive(ctx, request, page)
	if err != nil {
		return Link{}, err
	}
	purchase, err := a.Ledger.Give(ctx, ledger.Payment{Terms: given, Note: request.Note})
	if err != nil {
		return Link{}, err
	}
	a.Logger.Info("access given by the operator", zap.String("purchase", Reference(purchase.ID)), zap.String("pass", given.Pass))
	return a.link(a.Gates.DeviceLink, page, purchase, defaultLinkLife)
}

// termsToGive are those of another purchase, or of a product that opens the page.
func (a *API) termsToGive(ctx context.Context, request GiveRequest, page Page) (given terms.Terms, err error) {
	if request.Like != "" {
		given, err = a.termsLike(ctx, request.Like, page)
	} else if given, err = a.termsOnSale(request, page); err != nil {
		err = refuse(http.StatusBadRequest, "%w", err)
	}
	if err != nil {
		return given, err
	}
	given.Installation, given.Site = a.Keys.Installation(), page.Site
	if request.For != "" {
		if given.Access, err = parseAccess(request.For); err != nil {
			return given, refuse(http.StatusBadRequest, "%w", err)
		}
	}
	given.Devices = 1
	if request.Devices != nil {
		given.Devices = *request.Devices
	}
	if given.Devices < 1 || given.Devices > MaxDevices {
		return given, refuse(http.StatusBadRequest, "a purchase can be used on 1 to %d devices", MaxDevices)
	}
	return given, nil
}

func parseAccess(text string) (terms.Access, error) {
	if text == "forever" {
		return terms.Forever, nil
	}
	length, err := caddy.ParseDuration(text)
	if err != nil || length < time.Second {
		return 0, fmt.Errorf("access %q is not a length of time: write 12h, 30d or forever", text)
	}
	return terms.Access(length), nil
}

// termsLike are what another purchase opens, for as long as it has left.
func (a *API) termsLike(ctx context.Context, name string, page Page) (terms.Terms, error) {
	like, err := a.holding(ctx, name)
	if err != nil {
		return terms.Terms{}, err
	}
	_, opens := page.Products[like.Product]
	switch status := like.StatusAt(a.Now()); {
	case like.Site != page.Site:
		return terms.Terms{}, refuse(http.StatusBadRequest, "that purchase is of %s", like.Site)
	case status != ledger.Active:
		return terms.Terms{}, refuse(http.StatusConflict, "that purchase no longer opens anything: it is %s", status)
	case !opens:
		return terms.Terms{}, refuse(http.StatusBadRequest, "pass %q does not open that address", like.Product)
	}
	left := terms.Forever
	if !like.EndsAt.IsZero() {
		left = terms.Access(max(like.EndsAt.Sub(a.Now()).Truncate(time.Second), time.Second))
	}
	return terms.Terms{Pass: like.Product, Resource: like.Resource, Access: left, Downloads: like.DownloadLimit}, nil
}

// holding reads the purchase that an operator names, with the devices in use.
func (a *API) holding(ctx context.Context, name string) (ledger.Holding, error) {
	id, err := a.find(ctx, name)
	if err != nil {
		return ledger.Holding{}, err
	}
	return a.Ledger.Holding(ctx, id)
}

func (a *API) termsOnSale(request GiveRequest, page Page) (terms.Terms, error) {
	names := slices.Sorted(maps.Keys(page.Products))
	name := request.Pass
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	product, found := page.Products[name]
	if !found {
		return terms.Terms{}, fmt.Errorf("name one of the passes that open that address: %s", strings.Join(names, ", "))
	}
	given := terms.Terms{Pass: name, Resource: terms.WholePass, Access: product.Access, Downloads: product.Downloads}
	byKey := product.PerPath && product.Key != ""
	switch {
	case request.Key != "" && !byKey:
		return given, fmt.Errorf("pass %q is not sold by a key", name)
	case byKey && request.Key == "":
		return given, fmt.Errorf("pass %q is sold by %s: name one with --key", name, product.Key)
	case byKey:
		given.Resource = a.Gates.KeyResource(request.Key)
	case product.PerPath:
		given.Resource = page.Resource
	}
	return given, nil
}

// defaultLinkLife is how long a link works that an operator sends to somebody.
const defaultLinkLife = 7 * 24 * time.Hour

func (a *API) makeLink(ctx context.Context, request LinkRequest) (Link, error) {
	if err := a.keysReady(ctx); err != nil {
		return Link{}, err
	}
	life, err := parseLinkLife(request.For)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	purchase, err := a.holding(ctx, request.ID)
	if err != nil {
		return Link{}, err
	}
	if status := purchase.StatusAt(a.Now()); status != ledger.Active {
		return Link{}, refuse(http.StatusConflict, "that purchase opens nothing: it is %s", status)
	}
	page, err := a.pageOf(request.URL, purchase.Purchase)
	switch inUse := len(purchase.DeviceIDs); {
	case err != nil:
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	case request.Direct && !page.Products[purchase.Product].HasLinks:
		return Link{}, refuse(http.StatusConflict, "no gate there that sells %q has `links`: add it, or leave out --direct", purchase.Product)
	case request.Direct:
		return a.link(a.Gates.PrivateAddress, page, purchase.Purchase, life)
	case purchase.DeviceLimit > 0 && inUse >= purchase.DeviceLimit:
		return Link{}, refuse(http.StatusConflict, "all %d devices of that purchase are in use: remove one with caddy axra remove-device", inUse)
	}
	return a.link(a.Gates.DeviceLink, page, purchase.Purchase, life)
}

func parseLinkLife(text string) (time.Duration, error) {
	if text == "" {
		return defaultLinkLife, nil
	}
	life, err := caddy.ParseDuration(text)
	if err != nil || life < time.Minute || life > token.LongestLife {
		return 0, fmt.Errorf("%.40q is no length of time from a minute to ten years: write 24h or 7d", text)
	}
	return life, nil
}

// pageOf finds the page at which a purchase is to be opened. Without an address it is the path that was bought.
func (a *API) pageOf(address string, p ledger.Purchase) (Page, error) {
	// A resource with a space may be a path with one, or two paths.
	if address == "" && strings.HasPrefix(p.Resource, "/") && !strings.Contains(p.Resource, " ") {
		address = p.Site + (&url.URL{Path: p.Resource}).EscapedPath()
	}
	if address == "" {
		return Page{}, fmt.Errorf("say at which page it is to be opened, such as %s/…: what was bought is %q", p.Site, p.Resource)
	}
	page, err := a.Gates.Page(address)
	_, opens := page.Products[p.Product]
	switch {
	case err != nil:
		return page, err
	case page.Site != p.Site:
		return page, fmt.Errorf("that purchase is of %s", p.Site)
	case !opens:
		return page, fmt.Errorf("pass %q does not open that address", p.Product)
	}
	return page, nil
}

type signLink func(Page, ledger.Purchase, time.Time) (string, error)

func (a *API) link(sign signLink, page Page, purchase ledger.Purchase, life time.Duration) (Link, error) {
	expires := a.Now().Add(life).UTC().Truncate(time.Second)
	address, err := sign(page, purchase, expires)
	if err != nil {
		return Link{}, err
	}
	a.Logger.Info("link to a purchase made by the operator", zap.String("purchase", Reference(purchase.ID)))
	return Link{Purchase: purchase.ID, Link: address, Expires: expires}, nil
}
