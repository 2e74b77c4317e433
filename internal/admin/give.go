package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

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
	HasLinks  bool   // a gate that sells it honours private links
}

// GiveRequest asks for access without a payment.
type GiveRequest struct {
	URL     string `json:"address"` // the page it opens; its origin is the site
	Pass    string `json:"pass,omitempty" help:"Name of the pass, if several open the address"`
	Key     string `json:"key,omitempty" help:"Which one, if the pass is sold by a key"`
	For     string `json:"for,omitempty" help:"How long access lasts: 30d, 12h, forever (default: as it is sold)"`
	Devices int    `json:"devices,omitempty" help:"In how many browsers it may be opened" default:"1"`
	Note    string `json:"note,omitempty" help:"Why, for later reference"`
}

// LinkRequest asks for a link that opens a purchase.
type LinkRequest struct {
	ID     string `json:"purchase"`
	URL    string `json:"address"` // the page it leads to
	Direct bool   `json:"direct,omitempty" help:"Make a private link, which works without a click and a cookie"`
	For    string `json:"for,omitempty" help:"How long the link works (default 7d)"`
}

// Link opens a purchase.
type Link struct {
	Purchase string    `json:"purchase"`
	Link     string    `json:"link"`
	Expires  time.Time `json:"link_expires"`
}

func (a *API) keysReady(ctx context.Context) error {
	if a.Keys.Ready(ctx) {
		return nil
	}
	return refuse(http.StatusServiceUnavailable, "the signing keys are not loaded yet: is the ledger in trouble? See the log")
}

func (a *API) give(ctx context.Context, request GiveRequest) (Link, error) {
	if err := a.keysReady(ctx); err != nil {
		return Link{}, err
	}
	page, err := a.Page(request.URL)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	given, err := a.termsToGive(request, page)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	recorded, err := a.Ledger.RecordPayment(ctx, ledger.Payment{Source: ledger.FromOperator, Terms: given, Note: request.Note})
	purchase := recorded.Purchase
	if err != nil {
		return Link{}, err
	}
	a.Logger.Info("access given by the operator", zap.String("purchase", ledger.Reference(purchase.ID)), zap.String("pass", given.Pass))
	return a.link(page, purchase, defaultLinkLife, false)
}

// termsToGive are those of a product that opens the page, as the request changes them.
func (a *API) termsToGive(request GiveRequest, page Page) (terms.Terms, error) {
	name, product, err := productToGive(request.Pass, page.Products)
	if err != nil {
		return terms.Terms{}, err
	}
	given := terms.Terms{
		Installation: a.Keys.Installation(), Site: page.Site, Pass: name, Resource: terms.WholePass,
		Access: product.Access, Downloads: product.Downloads, Devices: max(request.Devices, 1),
	}
	if request.For != "" {
		if given.Access, err = gate.ParseAccess(request.For); err != nil {
			return given, err
		}
	}
	byKey := product.PerPath && product.Key != ""
	switch {
	case request.Devices < 0 || request.Devices > gate.MaxDevices:
		return given, fmt.Errorf("a purchase can be used on 1 to %d devices", gate.MaxDevices)
	case request.Key != "" && !byKey:
		return given, fmt.Errorf("pass %q is not sold by a key", name)
	case request.Key == "" && byKey:
		return given, fmt.Errorf("pass %q is sold by %s: name one with --key", name, product.Key)
	case byKey:
		given.Resource = gate.KeyResource(request.Key)
	case product.PerPath:
		given.Resource = page.Resource
	}
	return given, nil
}

// productToGive finds the product of a name; an empty name is that of the only one.
func productToGive(name string, products map[string]Product) (string, Product, error) {
	names := slices.Sorted(maps.Keys(products))
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	product, found := products[name]
	if !found {
		return name, product, fmt.Errorf("name one of the passes that open that address: %s", strings.Join(names, ", "))
	}
	return name, product, nil
}

// defaultLinkLife is how long a link works that an operator sends to a buyer.
const defaultLinkLife = 7 * 24 * time.Hour

func (a *API) makeLink(ctx context.Context, request LinkRequest) (Link, error) {
	if err := a.keysReady(ctx); err != nil {
		return Link{}, err
	}
	life, err := parseLinkLife(request.For)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Link{}, err
	}
	purchase, err := a.Ledger.Holding(ctx, id)
	if err != nil {
		return Link{}, err
	}
	if status := purchase.StatusAt(a.Now()); status != ledger.Active {
		return Link{}, refuse(http.StatusConflict, "that purchase opens nothing: it is %s", status)
	}
	page, err := a.Page(request.URL)
	product, opens := page.Products[purchase.Product]
	inUse := len(purchase.DeviceIDs)
	switch {
	case err != nil:
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	case page.Site != purchase.Site || !opens:
		return Link{}, refuse(http.StatusBadRequest, "that purchase, of pass %q at %s, does not open that address", purchase.Product, purchase.Site)
	case request.Direct && !product.HasLinks:
		return Link{}, refuse(http.StatusConflict, "no gate there that sells %q has `links`: add it, or leave out --direct", purchase.Product)
	case !request.Direct && purchase.DeviceLimit > 0 && inUse >= purchase.DeviceLimit:
		return Link{}, refuse(http.StatusConflict, "all %d devices of that purchase are in use: remove one with caddy axra remove-device", inUse)
	}
	return a.link(page, purchase.Purchase, life, request.Direct)
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

func (a *API) link(page Page, purchase ledger.Purchase, life time.Duration, direct bool) (Link, error) {
	expires := a.Now().Add(life).UTC().Truncate(time.Second)
	address, err := a.Link(page, purchase, expires, direct)
	if err != nil {
		return Link{}, err
	}
	a.Logger.Info("link to a purchase made by the operator", zap.String("purchase", ledger.Reference(purchase.ID)))
	return Link{Purchase: purchase.ID, Link: address, Expires: expires}, nil
}
