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

	"github.com/caddy-axra/paywall/internal/gate"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/terms"
	"github.com/caddy-axra/paywall/token"
)

// Page is an address that gates cover.
type Page struct {
	Site     string                   // its origin
	Target   string                   // its path and query
	Resource string                   // what a purchase by path opens there
	Products map[string]*gate.Product // that open it, by name; retired ones too
}

// GiveRequest asks for access without a payment.
type GiveRequest struct {
	URL     string `json:"address"` // the page it opens; its origin is the site
	Pass    string `json:"pass,omitempty" help:"Name of the pass, if several open the address"`
	Key     string `json:"key,omitempty" help:"Which one, if the pass is sold by a key"`
	For     string `json:"for,omitempty" help:"How long access lasts: 30d, 12h, forever (default: as it is sold)"`
	Devices int    `json:"devices" help:"In how many browsers it may be opened"`
	Note    string `json:"note,omitempty" help:"Why, for later reference"`
}

// LinkRequest asks for a link that opens a purchase.
type LinkRequest struct {
	ID  string `json:"purchase"`
	URL string `json:"address"` // the page it leads to
	For string `json:"for" help:"How long the link works"`
}

// linkLife is how long a link works by default.
const linkLife = "7d"

// Link opens a purchase.
type Link struct {
	Purchase string    `json:"purchase"`
	Link     string    `json:"link"`
	Expires  time.Time `json:"link_expires"`
}

// page finds what opens an address, once the keys are loaded.
func (a *API) page(address string) (Page, error) {
	if a.Keys.Installation() == "" {
		return Page{}, refuse(http.StatusServiceUnavailable, "the signing keys are not loaded yet: is the ledger in trouble? See the log")
	}
	page, err := a.Page(address)
	if err != nil {
		err = refuse(http.StatusBadRequest, "%w", err)
	}
	return page, err
}

func (a *API) give(ctx context.Context, request GiveRequest) (Link, error) {
	page, err := a.page(request.URL)
	if err != nil {
		return Link{}, err
	}
	given, err := a.termsToGive(request, page)
	if err != nil {
		return Link{}, refuse(http.StatusBadRequest, "%w", err)
	}
	recorded, err := a.Ledger.RecordPayment(ctx, ledger.Payment{Source: ledger.FromOperator, Terms: given, Note: request.Note})
	if err != nil {
		return Link{}, err
	}
	return a.link(ctx, LinkRequest{ID: recorded.Purchase.ID, URL: request.URL, For: linkLife})
}

// termsToGive are those of a product that opens the page, as the request changes them.
func (a *API) termsToGive(request GiveRequest, page Page) (given terms.Terms, err error) {
	names := slices.Sorted(maps.Keys(page.Products))
	if request.Pass == "" && len(names) == 1 {
		request.Pass = names[0]
	}
	product := page.Products[request.Pass]
	if product == nil {
		return given, fmt.Errorf("name one of the passes that open that address: %s", strings.Join(names, ", "))
	}
	given = terms.Terms{
		Installation: a.Keys.Installation(), Site: page.Site, Pass: product.Name, Resource: terms.AllPaths,
		Access: product.Access, Downloads: product.Config.Downloads, Devices: request.Devices,
	}
	if request.For != "" {
		if given.Access, err = gate.ParseAccess(request.For); err != nil {
			return given, err
		}
	}
	byKey := product.Config.PerPath && product.Config.Key != ""
	switch {
	case request.Devices < 1 || request.Devices > gate.MaxDevices:
		err = fmt.Errorf("a purchase can be used on 1 to %d devices", gate.MaxDevices)
	case request.Key != "" && !byKey:
		err = fmt.Errorf("pass %q is not sold by a key", product.Name)
	case request.Key == "" && byKey:
		err = fmt.Errorf("pass %q is sold by %s: name one with --key", product.Name, product.Config.Key)
	case byKey:
		given.Resource = gate.KeyResource(request.Key)
	case product.Config.PerPath:
		given.Resource = page.Resource
	}
	return given, err
}

func (a *API) link(ctx context.Context, request LinkRequest) (Link, error) {
	life, err := caddy.ParseDuration(request.For)
	if err != nil || life < time.Minute || life > token.LongestLife {
		return Link{}, refuse(http.StatusBadRequest, "%.40q is no length of time from a minute to ten years: write 24h or 7d", request.For)
	}
	page, err := a.page(request.URL)
	if err != nil {
		return Link{}, err
	}
	id, err := a.find(ctx, request.ID)
	if err != nil {
		return Link{}, err
	}
	purchase, err := a.Ledger.Holding(ctx, id)
	inUse := len(purchase.DeviceIDs)
	switch status := purchase.StatusAt(a.Now()); {
	case err != nil:
		return Link{}, err
	case status != ledger.Active:
		return Link{}, refuse(http.StatusConflict, "that purchase opens nothing: it is %s", status)
	case page.Site != purchase.Site || page.Products[purchase.Product] == nil:
		return Link{}, refuse(http.StatusBadRequest, "that purchase, of pass %q at %s, does not open that address", purchase.Product, purchase.Site)
	case purchase.DeviceLimit > 0 && inUse >= purchase.DeviceLimit:
		return Link{}, refuse(http.StatusConflict, "all %d devices of that purchase are in use: remove one with caddy axra remove-device", inUse)
	}
	expires := a.Now().Add(life).UTC().Truncate(time.Second)
	address, err := a.Link(page, purchase.Purchase, expires)
	return Link{Purchase: id, Link: address, Expires: expires}, err
}
