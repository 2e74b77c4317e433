package gate

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// Limits of what one purchase may include.
const (
	DefaultDevices = 3
	MaxDevices     = 1000
	maxDownloads   = 1000
)

// ProductConfig says what a product is and what it costs.
type ProductConfig struct {
	// Price is what the product costs. With placeholders, a `map` can price files. A price that is missing or wrong for a
	// request is a logged error 500: never free, and never a wrong charge.
	Price Price `json:"price,omitzero"`
	// Description says what is sold, on the offer page and on the checkout page. Placeholders are replaced for each request.
	Description string `json:"description,omitempty"`
	// Access is how long access lasts from the payment: a duration such as `12h` or `30d`, or `forever`, the default.
	Access string `json:"access,omitempty"`
	// PerPath sells each path separately. Without it, a payment opens everything behind the gates of the product.
	PerPath bool `json:"per_path,omitempty"`
	// Key, with placeholders, replaces the path as what PerPath sells. A request without a key is a logged error 500.
	Key string `json:"key,omitempty"`
	// Downloads is how many downloads one purchase allows, 1 to 1000. It requires PerPath. A download is a window of time,
	// 24h by default, from the first byte of content: within it the file may be fetched, resumed and fetched again.
	// Purchases keep the number they were sold with.
	Downloads int `json:"downloads,omitempty"`
	// Devices is how many devices may use one purchase, 1 to 1000, including the one that paid. The default is 3.
	// Purchases keep the number they were sold with.
	Devices int `json:"devices,omitempty"`
	// Retired takes the product off sale. Whoever has bought it keeps access.
	Retired bool `json:"retired,omitempty"`
}

// Price is an amount of money.
type Price struct {
	// Amount is a decimal number of major units, such as `5.00`, at least 0.50, or a placeholder.
	Amount string `json:"amount"`
	// Currency is the ISO 4217 code, in upper or lower case, or a placeholder.
	Currency string `json:"currency"`
}

// ErrNoPrice means that a product has no price: an oversight, never a free route.
var ErrNoPrice = errors.New("has no price: add `price 5.00 usd`")

// Product is what gates sell: the checked form of a ProductConfig.
type Product struct {
	Name         string
	Access       terms.Access
	Config       ProductConfig // Devices is never 0
	price        money.Price   // zero if it depends on the request
	isVariable   bool          // the price depends on the request
	looksUpPaths bool          // the price or the key is looked up for each path
}

// NewProduct checks the configuration of a product; errors name the fix.
func NewProduct(name string, config ProductConfig) (*Product, error) {
	p := &Product{Name: name, Config: config, isVariable: strings.Contains(config.Price.Amount+config.Price.Currency, "{")}
	p.Config.Devices = cmp.Or(config.Devices, DefaultDevices)
	byQuery := strings.HasPrefix(config.Key, "{http.request.uri.query") && strings.Count(config.Key, "{") == 1
	p.looksUpPaths = config.PerPath && (config.Key != "" && !byQuery || p.isVariable)
	var priceErr, accessErr error
	if !p.isVariable && (!config.Retired || config.Price != (Price{})) {
		p.price, priceErr = config.Price.Parse()
	}
	p.Access, accessErr = ParseAccess(config.Access)
	return p, cmp.Or(priceErr, accessErr, config.checkLimits(), CheckProductName(name))
}

func (c ProductConfig) checkLimits() error {
	switch {
	case c.Key != "" && !c.PerPath:
		return errors.New("key is of use with per_path only: write `per_path` too, or remove key")
	case c.Key != "" && !strings.Contains(c.Key, "{"):
		return fmt.Errorf("per_path %s: the key must hold a placeholder, or all paths would be sold as one: write for example `per_path {sku}`", c.Key)
	case c.Downloads < 0 || c.Downloads > maxDownloads:
		return fmt.Errorf("downloads takes a number from 1 to %d: write `downloads 5`", maxDownloads)
	case c.Downloads > 0 && !c.PerPath:
		return errors.New("downloads counts the fetches of one path: write `per_path` too, or remove downloads")
	case c.Devices < 0 || c.Devices > MaxDevices:
		return fmt.Errorf("devices takes a number from 1 to %d: write `devices 3`", MaxDevices)
	}
	return nil
}

// Parse reads a price that does not depend on the request; the error names the fix.
func (p Price) Parse() (money.Price, error) {
	price, err := money.Parse(p.Amount, p.Currency)
	switch {
	case p == (Price{}):
		return price, ErrNoPrice
	case err != nil:
		return price, fmt.Errorf("price: %w: write for example `price 5.00 usd` or `price 500 jpy`", err)
	}
	return price, nil
}

// ParseAccess reads how long access lasts: a duration, `forever`, or nothing, which means forever.
func ParseAccess(value string) (terms.Access, error) {
	if value == "" || value == "forever" {
		return terms.Forever, nil
	}
	length, err := caddy.ParseDuration(value)
	if err != nil || length < time.Second {
		return 0, fmt.Errorf("access %q is not a length of time: write 12h, 30d or forever", value)
	}
	return terms.Access(length), nil
}

// CheckProductName refuses names that cannot travel to Axra and back.
func CheckProductName(name string) error {
	if len(name) > 128 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return fmt.Errorf("pass %q: a name has at most 128 bytes, no control characters, and no space at either end", name)
	}
	return nil
}

// Same reports whether two products sell the same on the same terms.
func (p *Product) Same(other *Product) bool {
	a, b := p.Config, other.Config
	return (!p.isVariable || a.Price == b.Price) && p.price.Equal(other.price) && p.Access == other.Access &&
		a.PerPath == b.PerPath && a.Key == b.Key && a.Downloads == b.Downloads && a.Devices == b.Devices
}

// Quote is a product priced for one request.
type Quote struct {
	Product     *Product
	Price       money.Price
	Resource    string
	Description string
}

// Quote prices the product for a request.
func (p *Product) Quote(r *http.Request) (Quote, error) {
	price, priceErr := p.priceFor(r)
	resource, err := p.Resource(r)
	return Quote{Product: p, Price: price, Resource: resource, Description: Replace(r, p.Config.Description)}, cmp.Or(priceErr, err)
}

// priceFor returns the price for a request: of the dearest spelling, as a table may list a folder without its slash.
func (p *Product) priceFor(r *http.Request) (price money.Price, err error) {
	if !p.isVariable {
		return p.price, nil
	}
	paths := []string{r.URL.Path}
	if p.looksUpPaths && !isRewritten(r) {
		page := urlpath.Page(r.URL.Path)
		paths = append(paths, page, strings.TrimSuffix(page, "/")+"/")
	}
	asked := p.Config.Price
	for i, path := range paths {
		here, hereErr := money.Parse(replaceAt(r, path, asked.Amount), replaceAt(r, path, asked.Currency))
		if i == 0 || hereErr == nil && (err != nil || costsMore(here, price)) {
			price, err = here, hereErr
		}
	}
	if err != nil {
		return price, fmt.Errorf("pass %q: price %s %s: %w", p.Name, asked.Amount, asked.Currency, err)
	}
	return price, nil
}

// costsMore orders prices. Different currencies are ordered by name, so that all spellings lead to the same price.
func costsMore(price, other money.Price) bool {
	return cmp.Or(strings.Compare(other.Currency, price.Currency), price.Amount.Compare(other.Amount)) > 0
}

// Resource returns what a purchase made by this request opens.
func (p *Product) Resource(r *http.Request) (string, error) {
	switch {
	case !p.Config.PerPath:
		return terms.AllPaths, nil
	case p.Config.Key == "":
		return PathResource(r), nil
	}
	path := r.URL.Path
	if !isRewritten(r) && !strings.Contains(p.Config.Key, "{http.request.uri.path") { // it is looked up in a table
		path = urlpath.Page(urlpath.File(path))
	}
	key := replaceAt(r, path, p.Config.Key)
	if key == "" {
		return "", fmt.Errorf("pass %q: per_path %s: the key is empty", p.Name, p.Config.Key)
	}
	return KeyResource(key), nil
}

// maxResource is the length in bytes up to which the metadata of a checkout session has a resource itself, not its hash.
const maxResource = 256

func boundedResource(resource string) string {
	if len(resource) <= maxResource {
		return resource
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(resource)))
}

// ResourceOfPath names what is behind a path that nothing rewrites.
func ResourceOfPath(path string) string { return boundedResource(urlpath.Page(path)) }

// PathResource names what is behind the path of a request: before and after a rewrite, as by `try_files`.
func PathResource(r *http.Request) string {
	resource := urlpath.Page(OriginalURL(r).Path)
	if isRewritten(r) {
		resource += " " + urlpath.Page(r.URL.Path)
	}
	return boundedResource(resource)
}

// KeyResource names what a key sells. It cannot be taken for a path, nor for a pass.
func KeyResource(key string) string { return "key:" + boundedResource(key) }

// Opens reports whether a purchase of the resource opens what the request asks for, even if that is sold differently today.
func (p *Product) Opens(resource string, r *http.Request) bool {
	if resource == terms.AllPaths || resource == PathResource(r) {
		return true
	}
	own, err := p.Resource(r)
	return err == nil && resource == own
}
